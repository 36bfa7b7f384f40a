//! The mirror against a real shared repository and the real git program.

use std::time::Duration;

use super::super::clock::Stopwatch;
use super::super::files;
use super::super::secret::Secret;
use super::fixture::{MAIN, World, git, text};
use super::{GitError, Mirror, PushOutcome, RefUpdate};

const SIDE: &str = "refs/heads/tars/one";

fn update(name: &str, new: Option<&str>, expect: Option<&str>) -> RefUpdate {
    RefUpdate { name: name.to_owned(), new: new.map(str::to_owned), expect: expect.map(str::to_owned) }
}

fn rejected(outcome: &PushOutcome) -> bool {
    matches!(outcome, PushOutcome::Rejected(_))
}

#[tokio::test]
async fn a_push_lands_only_on_the_head_it_was_made_for() {
    let world = World::new();
    let mirror = world.mirror().await;
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    assert_eq!(head, world.first.commit);

    let mine = world.commit(mirror.objects(), &head, "mine");
    let landed = mirror.push(&[update(MAIN, Some(&mine), Some(&head))]).await.unwrap();
    assert_eq!(landed, PushOutcome::Landed);
    assert_eq!(world.hub().resolve(MAIN).unwrap(), Some(mine.clone()));

    // The same lease again, with other content: it is stale now.
    let late = world.commit(mirror.objects(), &head, "late");
    assert!(rejected(&mirror.push(&[update(MAIN, Some(&late), Some(&head))]).await.unwrap()));
    assert_eq!(world.hub().resolve(MAIN).unwrap(), Some(mine));
}

#[tokio::test]
async fn a_new_branch_must_not_exist_and_a_deleted_one_must() {
    let world = World::new();
    let mirror = world.mirror().await;
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let mine = world.commit(mirror.objects(), &head, "mine");

    assert_eq!(mirror.push(&[update(SIDE, Some(&mine), None)]).await.unwrap(), PushOutcome::Landed);
    let other = world.commit(mirror.objects(), &head, "other");
    assert!(rejected(&mirror.push(&[update(SIDE, Some(&other), None)]).await.unwrap()));
    assert!(rejected(&mirror.push(&[update(SIDE, None, Some(&other))]).await.unwrap()));
    assert_eq!(world.hub().resolve(SIDE).unwrap(), Some(mine.clone()));
    assert_eq!(mirror.push(&[update(SIDE, None, Some(&mine))]).await.unwrap(), PushOutcome::Landed);
    assert_eq!(world.hub().resolve(SIDE).unwrap(), None);
}

#[tokio::test]
async fn what_landed_is_not_fetched_again_and_what_did_not_is_not_noted() {
    let world = World::new();
    let mirror = world.mirror().await;
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let mine = world.commit(mirror.objects(), &head, "mine");
    let here = || mirror.objects().resolve(SIDE).unwrap();
    assert_eq!(mirror.push(&[update(SIDE, Some(&mine), None)]).await.unwrap(), PushOutcome::Landed);
    assert_eq!(here().as_ref(), Some(&mine));
    let other = world.commit(mirror.objects(), &head, "other");
    assert!(rejected(&mirror.push(&[update(SIDE, Some(&other), None)]).await.unwrap()));
    assert_eq!(here().as_ref(), Some(&mine));
    assert_eq!(mirror.push(&[update(SIDE, None, Some(&mine))]).await.unwrap(), PushOutcome::Landed);
    assert_eq!(here(), None);
}

#[tokio::test]
async fn one_stale_lease_stops_every_branch_of_the_push() {
    let world = World::new();
    let mirror = world.mirror().await;
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let mine = world.commit(mirror.objects(), &head, "mine");
    world.others_move(MAIN, "theirs");

    let both = [update(MAIN, Some(&mine), Some(&head)), update(SIDE, Some(&mine), None)];
    assert!(rejected(&mirror.push(&both).await.unwrap()));
    assert_eq!(world.hub().resolve(SIDE).unwrap(), None);

    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let mine = world.commit(mirror.objects(), &head, "mine again");
    let both = [update(MAIN, Some(&mine), Some(&head)), update(SIDE, Some(&mine), None)];
    assert_eq!(mirror.push(&both).await.unwrap(), PushOutcome::Landed);
    assert_eq!(world.hub().resolve(SIDE).unwrap(), Some(mine));
}

#[tokio::test]
async fn a_writer_who_moves_the_branch_during_the_push_is_never_overwritten() {
    let world = World::new();
    let mirror = world.mirror().await;
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let mine = world.commit(mirror.objects(), &head, "mine");
    let theirs = world.commit(&world.hub(), &head, "theirs");
    // The hook runs after the lease was compared on our side and before the shared side moves the branch.
    // Inside a hook git keeps new objects in quarantine and forbids moving branches; theirs is no part of
    // that.
    world.hook(
        "pre-receive",
        &format!("cat >/dev/null; env -u GIT_QUARANTINE_PATH git update-ref {MAIN} {theirs} {head}"),
    );
    let outcome = mirror.push(&[update(MAIN, Some(&mine), Some(&head))]).await.unwrap();
    assert!(rejected(&outcome), "{outcome:?}");
    assert_eq!(world.hub().resolve(MAIN).unwrap(), Some(theirs));
}

#[tokio::test]
async fn a_commit_somebody_else_already_put_there_is_not_our_success() {
    let world = World::new();
    let mirror = world.mirror().await;
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let mine = world.commit(mirror.objects(), &head, "mine");
    let push = [update(MAIN, Some(&mine), Some(&head))];
    assert_eq!(mirror.push(&push).await.unwrap(), PushOutcome::Landed);
    assert!(matches!(mirror.push(&push).await.unwrap(), PushOutcome::Unknown(_)));
}

#[tokio::test]
async fn a_refusing_server_is_a_rejection_and_its_words_are_harmless() {
    let world = World::new();
    let mirror = world.mirror().await;
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let mine = world.commit(mirror.objects(), &head, "mine");
    world.hook("pre-receive", "printf 'no \\033]52;c;x\\007' >&2; exit 1");
    let PushOutcome::Rejected(why) = mirror.push(&[update(MAIN, Some(&mine), Some(&head))]).await.unwrap()
    else {
        panic!("the server refused")
    };
    assert!(!why.contains('\u{1b}'), "{why}");
}

#[tokio::test]
async fn a_push_that_runs_out_of_time_is_unknown_before_and_after_it_landed() {
    let world = World::new();
    let mut settings = world.settings();
    settings.timeout_s = 5;
    let mirror = Mirror::open(&settings).await.unwrap();
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let mine = world.commit(mirror.objects(), &head, "mine");
    let watch = Stopwatch::start();

    world.hook("pre-receive", "sleep 60");
    let before = mirror.push(&[update(MAIN, Some(&mine), Some(&head))]).await.unwrap();
    assert!(matches!(before, PushOutcome::Unknown(_)), "{before:?}");
    assert_eq!(world.hub().resolve(MAIN).unwrap(), Some(head.clone()));

    files::remove_file(&world.hub.join("hooks/pre-receive")).unwrap();
    world.hook("post-receive", "sleep 60");
    let after = mirror.push(&[update(MAIN, Some(&mine), Some(&head))]).await.unwrap();
    assert!(matches!(after, PushOutcome::Unknown(_)), "{after:?}");
    assert_eq!(mirror.fetch(&[MAIN]).await.unwrap()[MAIN], mine);
    assert!(watch.elapsed() < Duration::from_secs(50));
}

#[tokio::test]
async fn a_stopped_push_leaves_no_lock_in_a_shared_folder() {
    let world = World::new();
    let mut settings = world.settings();
    settings.timeout_s = 5;
    let mirror = Mirror::open(&settings).await.unwrap();
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let push = [update(MAIN, Some(&world.commit(mirror.objects(), &head, "mine")), Some(&head))];
    // At "prepared" git holds the branch's lock file.
    world.hook("reference-transaction", "if [ \"$1\" = prepared ]; then sleep 60; fi; cat >/dev/null");
    assert!(matches!(mirror.push(&push).await.unwrap(), PushOutcome::Unknown(_)));
    files::remove_file(&world.hub.join("hooks/reference-transaction")).unwrap();
    assert_eq!(mirror.push(&push).await.unwrap(), PushOutcome::Landed);
}

#[tokio::test]
async fn an_unreachable_remote_is_unknown_for_a_push_and_an_error_for_a_fetch() {
    let world = World::new();
    let mirror = world.mirror().await;
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let mine = world.commit(mirror.objects(), &head, "mine");
    files::remove_dir(&world.hub).unwrap();
    let outcome = mirror.push(&[update(MAIN, Some(&mine), Some(&head))]).await.unwrap();
    assert!(matches!(outcome, PushOutcome::Unknown(_)), "{outcome:?}");
    let error = mirror.fetch(&[MAIN]).await.unwrap_err();
    assert!(matches!(error, GitError::Remote { .. }) && !error.needs_reopen());
}

#[tokio::test]
async fn a_fetch_answers_exactly_what_the_remote_has() {
    let world = World::new();
    let mirror = world.mirror().await;
    let all = [MAIN, "refs/heads/tars/*", "refs/heads/none"];
    assert_eq!(mirror.fetch(&all).await.unwrap().keys().collect::<Vec<_>>(), [MAIN]);

    let one = world.others_move(SIDE, "one");
    // A tag and a deeper branch of the same name must not be taken for the branch.
    world.git(&["tag", "main", &one], None).await;
    world.git(&["update-ref", "refs/heads/refs/heads/main", &one], None).await;
    let seen = mirror.fetch(&all).await.unwrap();
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [(MAIN.into(), world.first.commit.clone()), (SIDE.into(), one)]
    );
    assert_eq!(mirror.objects().refs("refs/").unwrap().len(), 2);

    // A branch turned into a folder of branches, and a rewritten one.
    world.git(&["update-ref", "-d", SIDE], None).await;
    let below = world.others_move("refs/heads/tars/one/below", "below");
    let other = world.commit(&world.hub(), &world.first.commit, "rewritten");
    world.git(&["update-ref", MAIN, &other], None).await;
    let seen = mirror.fetch(&all).await.unwrap();
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [(MAIN.into(), other), ("refs/heads/tars/one/below".into(), below)]
    );
    assert!(mirror.fetch(&["refs/heads/none"]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lock_left_by_a_killed_git_does_not_survive_a_reopen() {
    let world = World::new();
    let mirror = world.mirror().await;
    mirror.fetch(&[MAIN]).await.unwrap();
    let lock = mirror.objects().lock().path().join("refs/heads/main.lock");
    files::write_new(&lock, b"", 0o600).unwrap();
    let theirs = world.others_move(MAIN, "theirs");

    assert!(matches!(mirror.fetch(&[MAIN]).await.unwrap_err(), GitError::Remote { .. }));
    assert!(mirror.fetch(&[MAIN]).await.unwrap_err().needs_reopen());
    assert!(mirror.fetch(&[MAIN]).await.unwrap_err().needs_reopen(), "doubt does not go away");
    drop(mirror);
    assert_eq!(world.mirror().await.fetch(&[MAIN]).await.unwrap()[MAIN], theirs);
}

#[tokio::test]
async fn clones_of_dead_processes_are_deleted_and_living_ones_are_not() {
    let world = World::new();
    let clones = world.temp.path().join("state/clones");
    let living = world.mirror().await;
    files::create_private_dir(&clones.join("dead/repository.git")).unwrap();
    files::write_new(&clones.join("dead.lock"), b"", 0o600).unwrap();
    files::create_private_dir(&clones.join("lockless")).unwrap();

    let second = world.mirror().await;
    assert_eq!(files::names_in(&clones, 100).unwrap().len(), 4, "two folders and their locks");
    living.fetch(&[MAIN]).await.unwrap();
    drop((living, second));
    assert!(files::names_in(&clones, 100).unwrap().is_empty());
}

#[tokio::test]
async fn hostile_names_never_reach_git() {
    let world = World::new();
    let mirror = world.mirror().await;
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    for bad in
        ["main", "refs/tags/main", "--upload-pack=touch x", "refs/heads/-x", "refs/heads/../x", "refs/*"]
    {
        assert!(matches!(mirror.fetch(&[bad]).await, Err(GitError::Refused { .. })), "{bad}");
        let push = [update(bad, Some(&head), None)];
        assert!(matches!(mirror.push(&push).await, Err(GitError::Refused { .. })), "{bad}");
    }
    for push in [
        vec![],
        vec![update(SIDE, None, None)],
        vec![update(SIDE, Some("HEAD"), None)],
        vec![update(SIDE, Some(&head), Some("abc"))],
        vec![update(SIDE, Some(&head), None), update(SIDE, Some(&head), None)],
    ] {
        assert!(matches!(mirror.push(&push).await, Err(GitError::Refused { .. })), "{push:?}");
    }
}

#[tokio::test]
async fn a_hostile_tree_is_refused_on_arrival() {
    for name in [".git", ".GIT", "..", "git~1"] {
        let world = World::new();
        let mirror = world.mirror().await;
        let blob = text(&world.git(&["hash-object", "-w", "--stdin"], Some(b"x")).await);
        let row = format!("100644 blob {blob}\t{name}\n");
        let tree = text(&world.git(&["mktree"], Some(row.as_bytes())).await);
        let commit = text(&world.git(&["commit-tree", "-m", "x", &tree], None).await);
        world.git(&["update-ref", MAIN, &commit], None).await;
        assert!(matches!(mirror.fetch(&[MAIN]).await, Err(GitError::Remote { .. })), "{name}");
        assert_eq!(mirror.objects().resolve(MAIN).unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn nothing_a_repository_carries_is_ever_run() {
    let world = World::new();
    let mark = world.temp.path().join("PWNED");
    let script = format!("#!/bin/sh\ntouch {}\n", mark.display());
    let mirror = world.mirror().await;
    // Hooks in the clone itself, and a submodule that wants a command to run.
    let hooks = mirror.objects().lock().path().join("hooks");
    files::create_private_dir(&hooks).unwrap();
    for hook in ["pre-push", "reference-transaction", "post-merge", "pre-auto-gc"] {
        files::write_new(&hooks.join(hook), script.as_bytes(), 0o755).unwrap();
    }
    // Brings a branch here, so that a hook about references would run.
    mirror.fetch(&[MAIN]).await.unwrap();
    assert!(!mark.exists());
    let modules = format!(
        "[submodule \"x\"]\n\tpath = x\n\turl = ext::touch {0}\n\tupdate = !touch {0}\n",
        mark.display()
    );
    let blob = text(
        &world
            .git(&["hash-object", "-w", "--stdin"], Some(b"[submodule \"x\"]\n\tpath = x\n\turl = ./y\n"))
            .await,
    );
    let evil = text(&world.git(&["hash-object", "-w", "--stdin"], Some(modules.as_bytes())).await);
    for (blob, arrives) in [(blob, true), (evil, false)] {
        let rows = format!("100644 blob {blob}\t.gitmodules\n160000 commit {}\tx\n", world.first.commit);
        let tree = text(&world.git(&["mktree"], Some(rows.as_bytes())).await);
        let commit = text(&world.git(&["commit-tree", "-m", "x", &tree], None).await);
        world.git(&["update-ref", MAIN, &commit], None).await;
        let mirror = world.mirror().await;
        let fetched = mirror.fetch(&[MAIN]).await;
        assert_eq!(fetched.is_ok(), arrives, "{fetched:?}");
    }
    let head = mirror.fetch(&["refs/heads/none"]).await.unwrap();
    assert!(head.is_empty());
    let orphan = world.signer_commit(&mirror);
    assert_eq!(mirror.push(&[update(SIDE, Some(&orphan), None)]).await.unwrap(), PushOutcome::Landed);
    assert!(!mark.exists());
}

/// Answers every connection with a redirect to `to`, and hands over what was asked.
async fn redirecting(to: String) -> (String, tokio::sync::mpsc::Receiver<String>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = sender.try_send(String::from_utf8_lossy(&request[..read]).into_owned());
        }
    });
    (address, receiver)
}

#[tokio::test]
async fn a_token_reaches_its_host_and_follows_no_redirect() {
    let world = World::new();
    let (other, mut elsewhere) = redirecting("http://127.0.0.1:1/".to_owned()).await;
    let (host, mut asked) =
        redirecting(format!("http://{other}/x.git/info/refs?service=git-upload-pack")).await;
    let mut settings = world.settings();
    settings.url = format!("http://{host}/x.git");
    settings.token = Some(Secret::new("canary").unwrap());
    let mirror = Mirror::open(&settings).await.unwrap();
    let error = mirror.fetch(&[MAIN]).await.unwrap_err();
    assert!(matches!(error, GitError::Remote { .. }), "{error:?}");
    assert!(asked.recv().await.unwrap().contains("Authorization: Basic "));
    assert!(elsewhere.try_recv().is_err(), "nobody else was asked");
    assert!(!format!("{error} {error:?} {mirror:?}").contains("canary"));
}

#[tokio::test]
async fn a_mirror_can_be_used_from_any_task() {
    let world = World::new();
    let mirror = std::sync::Arc::new(world.mirror().await);
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let mirror = std::sync::Arc::clone(&mirror);
            tokio::spawn(async move { mirror.fetch(&["refs/heads/*"]).await.unwrap().len() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 1);
    }
}

#[tokio::test]
async fn what_we_push_passes_the_checks_of_git_itself() {
    let world = World::new();
    let mirror = world.mirror().await;
    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
    let mine = world.commit(mirror.objects(), &head, "mine");
    mirror.push(&[update(MAIN, Some(&mine), Some(&head))]).await.unwrap();
    let fsck = git(&world.hub, &["fsck", "--strict", "--full"], None).await;
    assert!(fsck.success(), "{}", fsck.stderr);
}

#[tokio::test]
async fn racing_writers_lose_nothing_and_land_each_commit_once() {
    const WRITERS: usize = 4;
    const COMMITS: usize = 4;
    let world = std::sync::Arc::new(World::new());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move {
                let mirror = world.mirror().await;
                let mut landed = 0;
                for attempt in 0..200 {
                    let head = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
                    let mine = world.commit(mirror.objects(), &head, &format!("{writer} {attempt}"));
                    match mirror.push(&[update(MAIN, Some(&mine), Some(&head))]).await.unwrap() {
                        PushOutcome::Landed => landed += 1,
                        PushOutcome::Rejected(_) => {}
                        PushOutcome::Unknown(_) => {
                            let now = mirror.fetch(&[MAIN]).await.unwrap()[MAIN].clone();
                            landed += usize::from(mirror.objects().is_ancestor(&mine, &now).unwrap());
                        }
                    }
                    if landed == COMMITS {
                        return;
                    }
                }
                panic!("writer {writer} landed only {landed}");
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let head = world.hub().resolve(MAIN).unwrap().unwrap();
    assert_eq!(world.hub().walk(&head, None, 1000).unwrap().len(), 1 + WRITERS * COMMITS);
}
