//! SHA-1, by which git names things and tars signs them. A pair that collides as bare bytes is two objects for
//! git, because a header stands before each; nobody has made a pair that collides with its header. What is
//! left to hold is that whoever makes one is noticed: by the git program, by libgit2, and by `tars check`
//! where the git of a machine would not.

use super::{World, honest};
use crate::support;
use crate::support::program::{Said, git, git_with, shell, tars};

/// What both begin with (<https://shattered.io>, 2017): 192 bytes.
const HEAD: &str = "255044462d312e330a25e2e3cfd30a0a0a312030206f626a0a3c3c2f57696474682032203020522f4865696768742033\
                    203020522f547970652034203020522f537562747970652035203020522f46696c7465722036203020522f436f6c6f72\
                    53706163652037203020522f4c656e6774682038203020522f42697473506572436f6d706f6e656e7420383e3e0a7374\
                    7265616d0affd8fffe00245348412d3120697320646561642121212121852fec092339759c39b1a1c63c4c97e1fffe01";
/// Two blocks each, after which SHA-1 is in the same state.
const TAILS: [&str; 2] = [
    "7346dc9166b67e118f029ab621b2560ff9ca67cca8c7f85ba84c79030c2b3de218f86db3a90901d5df45c14f26fedfb3\
     dc38e96ac22fe7bd728f0e45bce046d23c570feb141398bb552ef5a0a82be331fea48037b8b5d71f0e332edf93ac3500\
     eb4ddc0decc1a864790c782c76215660dd309791d06bd0af3f98cda4bc4629b1",
    "7f46dc93a6b67e013b029aaa1db2560b45ca67d688c7f84b8c4c791fe02b3df614f86db1690901c56b45c1530afedfb7\
     6038e972722fe7ad728f0e4904e046c230570fe9d41398abe12ef5bc942be33542a4802d98b5d70f2a332ec37fac3514\
     e74ddc0f2cc1a874cd0c78305a21566461309789606bd0bf3f98cda8044629a1",
];

/// Two different texts of one SHA-1.
fn pair() -> [Vec<u8>; 2] {
    TAILS.map(|tail| {
        let digits = [HEAD, tail].concat();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    })
}

/// Gives git a conflict whose first side is `text`. Git names what it remembers of a conflict by the SHA-1 of
/// its sides, without a header: the one door through which the bytes themselves are hashed.
fn remember_conflict(text: &[u8]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    git(dir, &["init", "-q"]);
    std::fs::create_dir_all(dir.join(".git/rr-cache")).unwrap();
    let rows: String = (1..4)
        .map(|stage| {
            let blob = git_with(dir, &["hash-object", "-w", "--stdin"], &[], format!("{stage}\n").as_bytes());
            format!("100644 {blob} {stage}\tf\n")
        })
        .collect();
    git_with(dir, &["update-index", "--index-info"], &[], rows.as_bytes());
    let conflict = [b"<<<<<<< a\n", text, b"\n=======\nzz\n>>>>>>> b\n"].concat();
    std::fs::write(dir.join("f"), conflict).unwrap();
    shell(dir, "git rerere")
}

#[test]
fn the_git_of_this_machine_notices_a_collision() {
    for text in pair() {
        let said = remember_conflict(&text);
        assert!(said.code != 0 && said.err.contains("collision attack"), "{said:?}");
        let mut other = text;
        *other.last_mut().unwrap() ^= 1;
        let said = remember_conflict(&other);
        assert_eq!(said.code, 0, "one bit beside it: {said:?}");
    }
}

#[test]
fn the_libgit2_in_the_program_is_built_to_notice_a_collision() {
    let program = std::fs::read(support::tars()).unwrap();
    let words = b"SHA1 collision attack detected";
    assert!(program.windows(words.len()).any(|it| it == words), "libgit2 was built with another SHA-1");
}

#[test]
fn a_pair_that_collides_as_bytes_is_two_files_for_git_and_stops_nothing() {
    let [one, other] = pair();
    assert_ne!(one, other);
    let mut tree = honest();
    tree.file("apps/shattered-1.pdf", &one).file("apps/shattered-2.pdf", &other);
    tree.file("apps/one.yaml", &one).file("apps/other.yaml", &other);
    let world = World::new(&tree);
    let id = |name: &str| git(&world.repo(), &["rev-parse", &format!("main:apps/{name}")]);
    assert_ne!(id("shattered-1.pdf"), id("shattered-2.pdf"));
    world.serves_the_honest_target();
}

#[test]
fn a_git_that_says_it_notices_none_is_told_by_the_check() {
    let world = World::new(&honest());
    let real = support::parts::find("git", "a_git_that_says_it_notices_none_is_told_by_the_check").unwrap();
    let bin = world.home().join("careless-bin");
    std::fs::create_dir_all(&bin).unwrap();
    for (sha1, told) in [("SHA1_OPENSSL (No collision detection)", true), ("SHA1_DC", false)] {
        let script = format!(
            "#!/bin/sh\nfor it; do case $it in --build-options) echo 'SHA-1: {sha1}'; exit 0;; esac; done\n\
             exec {} \"$@\"\n",
            real.display()
        );
        std::fs::write(bin.join("git"), script).unwrap();
        shell(world.home(), "chmod 755 careless-bin/git").ok();
        let line = "PATH=$PWD/careless-bin:$PATH tars check --config tars.yaml -o json";
        let said = shell(world.home(), line);
        assert_eq!(said.out.contains("does not notice forged collisions"), told, "{sha1}: {said:#?}");
        assert_eq!(said.out.contains("No collision detection"), told, "{sha1}: {said:#?}");
    }
    let said = tars(world.home(), &["check", "--config", "tars.yaml", "-o", "json"]);
    assert!(!said.out.contains("forged collisions"), "{said:#?}");
}
