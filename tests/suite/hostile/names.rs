//! Addresses and names that would become options, programs, other hosts or other references. A setting that
//! holds one is refused before git is started with it; a remote that holds one is read as if it did not.

use super::{World, honest};
use crate::support::git_http::noting_git;
use crate::support::program::{git, shell};

const ADDRESSES: &[&str] = &[
    "ext::sh -c 'touch PWNED'",
    "ext::touch%20PWNED",
    "fd::17",
    "--upload-pack=touch PWNED",
    "-oProxyCommand=touch PWNED",
    "ssh://-oProxyCommand=touch${IFS}PWNED/x",
    "ssh://-oProxyCommand=x@forge.invalid/x",
    "-oProxyCommand=touch@forge.invalid:x",
    "file:///",
    "file://forge.invalid/x",
    "FILE:///tmp/x.git",
    "HTTPS://forge.invalid/x.git",
    "EXT::sh -c x",
    "https://forge.invalid/--x",
    "https://forge.invalid/%0ahost=forge",
    "https://forge.invalid/%0D%0AHost:%20other",
    "https://forge.invalid/x%00.git",
    "https://forge.invalid/a\\nb",
    "https://forge.invalid\\u0000/x",
    "https://forge.invalid\\\\@other.invalid/x",
    "https://canary:canary@forge.invalid/x",
    "https://canary@forge.invalid/x",
    "https://forge.invalid?@other.invalid/x",
    "https://forge.invalid#@other.invalid/x",
    "http://forge.invalid/x.git",
    "http://127.0.0.1.forge.invalid/x.git",
    "git://forge.invalid/x.git",
    "ftp://forge.invalid/x.git",
    "../x.git",
    "/srv/../etc",
    "/-x/y.git",
];

#[test]
fn an_address_that_is_more_than_one_is_refused_before_git_sees_it() {
    let world = World::new(&honest());
    let log = world.home().join("git.log");
    let bin = noting_git(world.home(), &log);
    let before = world.refs();
    for address in ADDRESSES {
        for verb in ["check", "run --once"] {
            world.settings(address, "");
            let line = format!("PATH={}:$PATH tars {verb} --config tars.yaml", bin.display());
            let said = shell(world.home(), &line);
            assert!([1, 2].contains(&said.code), "{verb} {address}: {said:#?}");
            let text = format!("{}{}", said.out, said.err);
            assert!(text.contains("repository"), "{verb} {address}: {text}");
            assert!(!text.contains("canary"), "{address}: {text}");
        }
    }
    // Not even its version was asked for.
    assert_eq!(std::fs::read_to_string(&log).unwrap_or_default(), "");
    assert!(!world.home().join("PWNED").exists());
    assert_eq!(world.refs(), before);
}

#[test]
fn a_branch_that_is_more_than_one_is_refused_before_git_sees_it() {
    let world = World::new(&honest());
    let log = world.home().join("git.log");
    let bin = noting_git(world.home(), &log);
    let repo = world.repo().display().to_string();
    for name in [
        "--upload-pack=touch PWNED",
        "-oProxyCommand=x",
        "main:refs/heads/other",
        "main@{1}",
        "@{-1}",
        "@",
        "HEAD~1",
        "main^{tree}",
        "../../x",
        "a..b",
        "a//b",
        "a.lock",
        "*",
        "ma\\u202ein",
        "main\\nother",
        "",
    ] {
        for setting in ["branch", "ledger_branch"] {
            world.settings(&repo, &format!("  {setting}: \"{name}\"\n"));
            let line = format!("PATH={}:$PATH tars run --once --config tars.yaml", bin.display());
            let said = shell(world.home(), &line);
            assert_eq!(said.code, 2, "{setting} {name}: {said:#?}");
            assert!(said.err.contains(&format!("repository.{setting}")), "{name}: {said:#?}");
        }
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn only_the_branch_itself_is_believed_among_its_look_alikes() {
    let world = World::new(&honest());
    let repo = world.repo();
    let main = git(&repo, &["rev-parse", "refs/heads/main"]);
    // What the look-alikes lead to would stop everything, if one of them were believed.
    let mut tree = honest();
    tree.file("policies/SUSPENDED", "by a look-alike\n").file("policies/good.yaml", "kind: Nothing\n");
    let evil = world.main(&tree);
    git(&repo, &["update-ref", "refs/heads/main", &main]);
    let names = [
        "refs/tags/main",
        "refs/tags/heads/main",
        "refs/tags/tars/ledger",
        "refs/main",
        "refs/remotes/origin/main",
        "refs/remotes/main",
        "refs/heads/refs/heads/main",
        "refs/heads/Main",
        "refs/heads/heads/main",
        "refs/heads/mai",
        "refs/heads/tars/-oProxyCommand=x",
        "refs/heads/tars/--upload-pack=x",
        "refs/heads/tars/$(touch${IFS}PWNED)",
        "refs/heads/tars/\u{202e}niam",
        "refs/heads/tars/good/x",
        "refs/heads/HEAD",
    ];
    // By hand: git itself would not make all of them.
    let rows: String = names.iter().map(|name| format!("{evil} {name}\n")).collect();
    std::fs::write(repo.join("packed-refs"), format!("# pack-refs with: peeled fully-peeled \n{rows}"))
        .unwrap();
    git(&repo, &["update-ref", &format!("refs/replace/{main}"), &evil]);
    git(&repo, &["symbolic-ref", "HEAD", "refs/heads/Main"]);
    let tick = world.run();
    assert_eq!(tick.said.code, 0, "{:#?}", tick.said);
    let entries = git(&repo, &["rev-list", "--count", "refs/heads/tars/ledger"]);
    assert_eq!(entries, "2", "{:#?}", tick.said);
    let proposal = world.proposals().into_iter().find(|it| it.starts_with("tars/good/shop")).unwrap();
    let parent = git(&repo, &["--no-replace-objects", "rev-parse", &format!("refs/heads/{proposal}^")]);
    assert_eq!(parent, main);
    for name in names {
        assert_eq!(git(&repo, &["rev-parse", name]), evil, "{name} stays as it was");
    }
    assert!(!world.home().join("PWNED").exists());
}
