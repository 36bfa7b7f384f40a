//! The states of the streaming detector in a file, so that a restart forgets nothing. States go in, bytes come out, and
//! back. A file that is not as it should be is as good as none: what a window shows is learned anew from it.
//! Never: a part of a file, or a state for a signal that means something else now.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::detect::stream::State;
use crate::model::ids::SignalName;
use crate::model::signal::SignalKey;
use crate::observe::signals::Meaning;
use crate::outside::files::{self, FileError};

/// First line of the file; another layout has another one.
const MAGIC: &[u8] = b"tars detector states 1\n";
const DIGEST_BYTES: usize = 32;
/// Largest file: some 34,000 series. What has no room is learned anew after a restart.
pub const BYTES_MAX: usize = 128 * 1024 * 1024;

/// What is known of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub meaning: Meaning,
    /// On the heap: a map moves its entries.
    pub state: Box<State>,
}

/// By series.
pub type States = BTreeMap<SignalKey, Known>;

/// The file is not used.
#[derive(Debug, Error)]
pub enum StatesError {
    #[error("cannot read what the detector had learned; it learns again from the windows")]
    Unread(#[source] FileError),
    #[error("{} does not hold what a detector of this version had learned; it learns again from the windows", .0.display())]
    Foreign(PathBuf),
    #[error("cannot keep what the detector has learned; after a restart it learns again from the windows")]
    Unwritten(#[source] FileError),
    #[error(
        "no room to keep what was learned of {0} series; after a restart it is learned again from the windows"
    )]
    TooMany(usize),
}

/// Where states outlive the process.
#[derive(Debug)]
pub struct StatesFile(PathBuf);

impl StatesFile {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The states of the last process; none when there was none.
    ///
    /// # Errors
    /// [`StatesError`] when the file cannot be used.
    pub fn read(&self) -> Result<States, StatesError> {
        match files::read_bounded(&self.0, BYTES_MAX) {
            Ok(bytes) => decode(&bytes).ok_or_else(|| StatesError::Foreign(self.0.clone())),
            Err(error) if error.is_not_found() => Ok(States::new()),
            Err(error) => Err(StatesError::Unread(error)),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`StatesError`] when it cannot be written, or some had no room in it; those that had are written.
    pub fn write(&self, states: &States) -> Result<(), StatesError> {
        let (bytes, left_out) = encode(states, BYTES_MAX);
        files::write_durable(&self.0, &bytes).map_err(StatesError::Unwritten)?;
        if left_out > 0 { Err(StatesError::TooMany(left_out)) } else { Ok(()) }
    }
}

/// The bytes, `bytes_max` at most, and how many states have no room in them.
fn encode(states: &States, bytes_max: usize) -> (Vec<u8>, usize) {
    let mut bytes = MAGIC.to_vec();
    let mut written = 0;
    for (key, known) in states {
        let state = known.state.encode();
        let parts =
            [key.signal.as_str().as_bytes(), key.service.as_str().as_bytes(), &known.meaning.0, &state];
        let length: usize = parts.iter().map(|part| part.len() + 2).sum();
        if bytes.len() + length + DIGEST_BYTES > bytes_max {
            break;
        }
        for part in parts {
            bytes.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        written += 1;
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    (bytes, states.len() - written)
}

fn decode(bytes: &[u8]) -> Option<States> {
    let (body, digest) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
    if Sha256::digest(body).as_slice() != digest {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut states = States::new();
    while !rest.is_empty() {
        let name = |part: &[u8]| SignalName::new(std::str::from_utf8(part).ok()?).ok();
        let signal = name(part(&mut rest)?)?;
        let service = name(part(&mut rest)?)?;
        let meaning = Meaning(part(&mut rest)?.try_into().ok()?);
        let state = Box::new(State::decode(part(&mut rest)?).ok()?);
        states.insert(SignalKey { signal, service }, Known { meaning, state });
    }
    Some(states)
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let (part, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *rest = after;
    Some(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::stream::{Detector, Settings};
    use crate::model::fixtures::signal;

    fn states(count: usize) -> States {
        let detector = Detector::new(&Settings::default());
        let one = |index: usize| {
            let mut state = detector.start(30);
            for slot in 0..200 {
                detector.step(&mut state, slot * 30, Some((index as i64 + slot % 7) as f64));
            }
            let known = Known { meaning: Meaning([index as u8; 16]), state: Box::new(state) };
            (signal(&format!("service{index}"), "latency_p95"), known)
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn what_was_written_is_read_and_the_file_of_nobody_is_no_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let file = StatesFile::new(folder.path().join("states"));
        assert_eq!(file.read().unwrap(), States::new());
        let states = states(3);
        file.write(&states).unwrap();
        assert_eq!(file.read().unwrap(), states);
        assert_eq!(files::exposed(&folder.path().join("states")).unwrap(), None, "nobody else reads it");
    }

    #[test]
    fn a_file_that_is_cut_changed_or_of_something_else_is_refused_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (path, states) = (folder.path().join("states"), states(2));
        let file = StatesFile::new(path.clone());
        let (whole, _) = encode(&states, BYTES_MAX);
        let mut changed = whole.clone();
        changed[4_000] ^= 1;
        let foreign = [b"{\"states\": []}".as_slice(), &[0; 64]].concat();
        for wrong in [&whole[..whole.len() - 1], &whole[..40], &changed, &foreign, b""] {
            files::write_durable(&path, wrong).unwrap();
            let refused = file.read().unwrap_err();
            assert!(matches!(refused, StatesError::Foreign(_)), "{refused}");
        }
    }

    #[test]
    fn what_has_no_room_is_left_out_and_the_rest_can_be_read() {
        let states = states(5);
        let (all, none) = encode(&states, BYTES_MAX);
        assert_eq!(none, 0);
        let (bytes, left_out) = encode(&states, all.len() - 1);
        assert_eq!((left_out, bytes.len() < all.len()), (1, true));
        let kept = decode(&bytes).unwrap();
        assert!(kept.len() == 4 && kept.iter().all(|(key, known)| states[key] == *known));
    }

    proptest! {
        #[test]
        fn any_bytes_are_states_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut signed = [MAGIC, &bytes].concat();
            let digest = Sha256::digest(&signed);
            signed.extend_from_slice(&digest);
            drop((decode(&bytes), decode(&signed)));
        }
    }
}
