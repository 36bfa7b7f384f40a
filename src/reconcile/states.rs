//! The states of the streaming detector in a file, so that a restart forgets nothing. States go in, bytes come out, and
//! back. A file that is not as it should be is as good as none: what a window shows is learned anew from it.
//! Never: a part of a file, or a state for a signal that means something else now.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
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
/// What a file without a state holds.
const FRAME_BYTES: u64 = (MAGIC.len() + DIGEST_BYTES) as u64;
/// Largest file. All series that are watched at most fit: their states take some 3,600 bytes each, names included.
pub const BYTES_MAX: u64 = 512 * 1024 * 1024;

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
        match files::open_bounded(&self.0, BYTES_MAX) {
            Ok((reader, bytes)) => decode(reader, bytes).ok_or_else(|| StatesError::Foreign(self.0.clone())),
            Err(error) if error.is_not_found() => Ok(States::new()),
            Err(error) => Err(StatesError::Unread(error)),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`StatesError`] when it cannot be written, or some had no room in it; those that had are written.
    pub fn write(&self, states: &States) -> Result<(), StatesError> {
        let mut left_out = 0;
        files::write_durable_by(&self.0, |file| {
            left_out = encode(states, file, BYTES_MAX)?;
            Ok(())
        })
        .map_err(StatesError::Unwritten)?;
        if left_out > 0 { Err(StatesError::TooMany(left_out)) } else { Ok(()) }
    }
}

/// Writes `bytes_max` bytes at most, one state at a time, and says how many states have no room in them.
fn encode(states: &States, file: &mut dyn Write, bytes_max: u64) -> io::Result<usize> {
    let mut digest = Sha256::new();
    let mut left = bytes_max.saturating_sub(FRAME_BYTES);
    let mut write = |bytes: &[u8]| {
        digest.update(bytes);
        file.write_all(bytes)
    };
    write(MAGIC)?;
    let (mut written, mut entry) = (0, Vec::new());
    for (key, known) in states {
        entry.clear();
        let state = known.state.encode();
        for part in
            [key.signal.as_str().as_bytes(), key.service.as_str().as_bytes(), &known.meaning.0, &state]
        {
            entry.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes());
            entry.extend_from_slice(part);
        }
        let Some(rest) = left.checked_sub(entry.len() as u64) else { break };
        write(&entry)?;
        (left, written) = (rest, written + 1);
    }
    file.write_all(&digest.finalize())?;
    Ok(states.len() - written)
}

/// What `bytes` bytes of a reader hold; `None` when any of them is not as it was written.
fn decode(reader: impl Read, bytes: u64) -> Option<States> {
    let mut entries =
        Digested { left: bytes.checked_sub(DIGEST_BYTES as u64)?, digest: Sha256::new(), reader };
    if entries.take(MAGIC.len())? != MAGIC {
        return None;
    }
    let mut states = States::new();
    while entries.left > 0 {
        let name = |part: Vec<u8>| SignalName::new(std::str::from_utf8(&part).ok()?).ok();
        let signal = name(entries.part()?)?;
        let service = name(entries.part()?)?;
        let meaning = Meaning(entries.part()?.try_into().ok()?);
        let state = Box::new(State::decode(&entries.part()?).ok()?);
        states.insert(SignalKey { signal, service }, Known { meaning, state });
    }
    let Digested { digest, mut reader, .. } = entries;
    let mut written = [0; DIGEST_BYTES];
    reader.read_exact(&mut written).ok()?;
    (digest.finalize().as_slice() == written).then_some(states)
}

/// The part of a file that its digest is of.
struct Digested<R> {
    reader: R,
    /// Bytes that are not read yet.
    left: u64,
    digest: Sha256,
}

impl<R: Read> Digested<R> {
    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(length as u64)?;
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).ok()?;
        self.digest.update(&bytes);
        Some(bytes)
    }

    fn part(&mut self) -> Option<Vec<u8>> {
        let length = self.take(2)?;
        self.take(usize::from(u16::from_le_bytes(length.try_into().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::stream::{Detector, Settings};
    use crate::model::fixtures::signal;
    use crate::observe::signals::MAX_SERIES_ALL;

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

    fn encoded(states: &States, bytes_max: u64) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        let left_out = encode(states, &mut bytes, bytes_max).unwrap();
        (bytes, left_out)
    }

    /// Names as long as they may be and all series that are watched at most: the file holds them.
    #[test]
    fn all_that_is_watched_has_room() {
        let detector = Detector::new(&Settings::default());
        let long = |start: &str| format!("{start}{}", "x".repeat(127));
        let known = Known { meaning: Meaning([0; 16]), state: Box::new(detector.start(30)) };
        let one = States::from([(signal(&long("s"), &long("l")), known)]);
        let (bytes, _) = encoded(&one, BYTES_MAX);
        assert!(bytes.len() as u64 * MAX_SERIES_ALL as u64 <= BYTES_MAX, "{} bytes", bytes.len());
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
        let (whole, _) = encoded(&states, BYTES_MAX);
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
        let (all, none) = encoded(&states, BYTES_MAX);
        assert_eq!((none, encoded(&states, all.len() as u64)), (0, (all.clone(), 0)), "to the last byte");
        let (bytes, left_out) = encoded(&states, all.len() as u64 - 1);
        assert_eq!((left_out, bytes.len() < all.len()), (1, true));
        let kept = decode(bytes.as_slice(), bytes.len() as u64).unwrap();
        assert!(kept.len() == 4 && kept.iter().all(|(key, known)| states[key] == *known));
    }

    proptest! {
        #[test]
        fn any_bytes_are_states_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut signed = [MAGIC, &bytes].concat();
            let digest = Sha256::digest(&signed);
            signed.extend_from_slice(&digest);
            drop((decode(bytes.as_slice(), bytes.len() as u64), decode(signed.as_slice(), signed.len() as u64)));
        }
    }
}
