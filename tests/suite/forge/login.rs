//! `tars forge login` from outside, against a real Gitea: which tokens it keeps, where, and that it shows none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{BOT, CANARY, settings, world};
use crate::support::program::{Said, shell};

/// Gives `token` to the command on its standard input.
fn login(dir: &Path, token: &str) -> Said {
    fs::write(dir.join("given"), token).unwrap();
    let said = shell(dir, "tars forge login < given");
    assert!(!format!("{}{}", said.out, said.err).contains(token.trim()), "the token was printed: {said:?}");
    said
}

fn kept(dir: &Path) -> String {
    fs::read_to_string(dir.join("token")).unwrap_or_default()
}

#[test]
fn a_token_that_can_do_its_work_is_kept_for_its_owner_alone() {
    let Some(world) = world("a_token_that_can_do_its_work_is_kept_for_its_owner_alone") else { return };
    world.gitea.repository("logged", &[BOT]);
    let folder = settings(&world.gitea.url, "logged", "old");
    let dir = folder.path();
    fs::set_permissions(dir.join("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = login(dir, &format!("{}\n", world.bot_token));
    assert_eq!(said.code, 0, "{said:?}");
    for words in
        ["belongs to tars-bot", "reads and pushes, and no more", "write:issue: may write", "written to"]
    {
        assert!(said.out.contains(words), "{words} is not in {said:?}");
    }
    assert_eq!(kept(dir), format!("{}\n", world.bot_token));
    let mode = fs::metadata(dir.join("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    fs::remove_file(dir.join("token")).unwrap();
    fs::write(dir.join("elsewhere"), &world.bot_token).unwrap();
    shell(dir, "tars forge login --from elsewhere").ok();
    assert_eq!(kept(dir), format!("{}\n", world.bot_token));
}

#[test]
fn a_token_that_cannot_is_told_what_it_lacks_and_the_old_one_stays() {
    let Some(world) = world("a_token_that_cannot_is_told_what_it_lacks_and_the_old_one_stays") else {
        return;
    };
    world.gitea.repository("refused", &[BOT]);
    let folder = settings(&world.gitea.url, "refused", "old");
    let dir = folder.path();
    let narrow = world.gitea.token(BOT, &["read:repository", "read:user", "write:issue"]);
    let stranger = world.gitea.user("login-stranger", crate::support::gitea::LEAST_SCOPES);
    for (token, code, words) in [
        (CANARY, 4, "the token is unknown or expired"),
        (narrow.as_str(), 1, "make a token with the scope write:repository"),
        (stranger.as_str(), 1, "forges also say this of what the token may not see"),
        ("", 2, "the secret is empty"),
        ("two words", 2, "holds a space"),
    ] {
        fs::write(dir.join("given"), token).unwrap();
        let said = shell(dir, "tars forge login < given");
        let told = format!("{}{}", said.out, said.err);
        assert!(said.code == code && told.contains(words), "{words}: {said:?}");
        assert!(token.is_empty() || !told.contains(token), "the token was printed: {said:?}");
        assert_eq!(kept(dir), "old");
    }
    assert!(login(dir, &narrow).out.contains("nothing was written"));
    let missing = shell(dir, "tars forge login --from nowhere");
    assert!(missing.code == 2 && missing.err.contains("nowhere"), "{missing:?}");
}
