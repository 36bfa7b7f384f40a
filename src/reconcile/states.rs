//! The states of the streaming detector in a file, with the windows that no source has, so that a restart forgets nothing.
//! States and windows go in, bytes come out, and back. A file that is not as it should be is as good as none: what a window
//! shows is learned anew from it.
//! Never: a part of a file, or a state for a signal that means something else now.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::detect::stream::State;
use crate::model::ids::SignalName;
use crate::model::signal::SignalKey;
use crate::observe::past::{self, Past};
use crate::observe::signals::Meaning;
use crate::outside::files::{self, FileError};

/// First line of the file; another layout has another one.
const MAGIC: &[u8] = b"tars detector states 2\n";
const DIGEST_BYTES: usize = 32;
/// First byte of what follows: a state, or the window of a series.
const STATE: u8 = 0;
const WINDOW: u8 = 1;
/// What a file without a state holds.
const FRAME_BYTES: u64 = (MAGIC.len() + DIGEST_BYTES) as u64;
/// Largest file. All series that are watched at most fit: their states take some 3,600 bytes each, names included. Windows
/// have what is left.
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
        "no room to keep what was learned of {states} series and what was pushed of {windows}; after a restart it is \
         learned again from what comes then"
    )]
    TooMany { states: usize, windows: usize },
}

/// Where states outlive the process.
#[derive(Debug)]
pub struct StatesFile(PathBuf);

impl StatesFile {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What the last process knew; nothing when there was none.
    ///
    /// # Errors
    /// [`StatesError`] when the file cannot be used.
    pub fn read(&self) -> Result<(States, Vec<Past>), StatesError> {
        match files::open_bounded(&self.0, BYTES_MAX) {
            Ok((reader, bytes)) => decode(reader, bytes).ok_or_else(|| StatesError::Foreign(self.0.clone())),
            Err(error) if error.is_not_found() => Ok(<(States, Vec<Past>)>::default()),
            Err(error) => Err(StatesError::Unread(error)),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`StatesError`] when it cannot be written, or some had no room in it; those that had are written.
    pub fn write(&self, states: &States, pasts: impl Iterator<Item = Past>) -> Result<(), StatesError> {
        let (mut left_out, mut pasts) = ((0, 0), Some(pasts));
        files::write_durable_by(&self.0, |file| {
            left_out = encode(states, pasts.take().into_iter().flatten(), file, BYTES_MAX)?;
            Ok(())
        })
        .map_err(StatesError::Unwritten)?;
        match left_out {
            (0, 0) => Ok(()),
            (states, windows) => Err(StatesError::TooMany { states, windows }),
        }
    }
}

/// Writes `bytes_max` bytes at most, one entry at a time, and says how many states and windows have no room in them.
fn encode(
    states: &States,
    pasts: impl Iterator<Item = Past>,
    file: &mut dyn Write,
    bytes_max: u64,
) -> io::Result<(usize, usize)> {
    let mut out = Bounded { digest: Sha256::new(), left: bytes_max.saturating_sub(FRAME_BYTES), file };
    out.write(MAGIC)?;
    let mut left_out = (0, 0);
    for (key, Known { meaning, state }) in states {
        left_out.0 += usize::from(!out.entry(STATE, (key, *meaning), &state.encode())?);
    }
    for Past { key, meaning, window } in pasts {
        if let Some(window) = past::encode(&window) {
            left_out.1 += usize::from(!out.entry(WINDOW, (&key, meaning), &window)?);
        }
    }
    out.file.write_all(&out.digest.finalize())?;
    Ok(left_out)
}

/// What `bytes` bytes of a reader hold; `None` when any of them is not as it was written.
fn decode(reader: impl Read, bytes: u64) -> Option<(States, Vec<Past>)> {
    let mut entries =
        Digested { left: bytes.checked_sub(DIGEST_BYTES as u64)?, digest: Sha256::new(), reader };
    if entries.take(MAGIC.len())? != MAGIC {
        return None;
    }
    let (mut states, mut pasts) = (States::new(), Vec::new());
    while entries.left > 0 {
        let name = |part: Vec<u8>| SignalName::new(std::str::from_utf8(&part).ok()?).ok();
        let kind = entries.take(1)?;
        let key = SignalKey { signal: name(entries.part()?)?, service: name(entries.part()?)? };
        let (meaning, body) = (Meaning(entries.part()?.try_into().ok()?), entries.part()?);
        match kind.as_slice() {
            [STATE] => {
                states.insert(key, Known { meaning, state: Box::new(State::decode(&body).ok()?) });
            }
            [WINDOW] => pasts.push(Past { key, meaning, window: past::decode(&body)? }),
            _ => return None,
        }
    }
    let Digested { digest, mut reader, .. } = entries;
    let mut written = [0; DIGEST_BYTES];
    reader.read_exact(&mut written).ok()?;
    (digest.finalize().as_slice() == written).then_some((states, pasts))
}

/// A file of so many bytes, and the digest of what is in it.
struct Bounded<'a> {
    file: &'a mut dyn Write,
    left: u64,
    digest: Sha256,
}

impl Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.file.write_all(bytes)
    }

    /// False when there is no room for it: nothing was written.
    fn entry(&mut self, kind: u8, (key, meaning): (&SignalKey, Meaning), body: &[u8]) -> io::Result<bool> {
        let mut entry = vec![kind];
        for part in [key.signal.as_str().as_bytes(), key.service.as_str().as_bytes(), &meaning.0, body] {
            entry.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            entry.extend_from_slice(part);
        }
        let Some(left) = self.left.checked_sub(entry.len() as u64) else { return Ok(false) };
        self.left = left;
        self.write(&entry)?;
        Ok(true)
    }
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
        let length = self.take(4)?;
        self.take(usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::stream::{Detector, Settings};
    use crate::model::fixtures::{at, signal};
    use crate::model::signal::Series;
    use crate::observe::signals::MAX_SERIES_ALL;
    use crate::observe::window::Window;

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
        let left_out = encode(states, std::iter::empty(), &mut bytes, bytes_max).unwrap();
        (bytes, left_out.0)
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
        assert_eq!(file.read().unwrap().0, States::new());
        let states = states(3);
        file.write(&states, std::iter::empty()).unwrap();
        assert_eq!(file.read().unwrap().0, states);
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
        let (kept, _) = decode(bytes.as_slice(), bytes.len() as u64).unwrap();
        assert!(kept.len() == 4 && kept.iter().all(|(key, known)| states[key] == *known));
        let long = Series {
            key: signal("web", "latency"),
            start: at(0),
            step_s: 1,
            values: vec![Some(1.0); 40_000],
        };
        let past = || Past { key: long.key.clone(), meaning: Meaning([7; 16]), window: Window::of(&long) };
        let mut bytes = Vec::new();
        let left_out =
            encode(&states, [past(), past()].into_iter(), &mut bytes, all.len() as u64 + 500_000).unwrap();
        let (kept, pasts) = decode(bytes.as_slice(), bytes.len() as u64).unwrap();
        assert_eq!((left_out, kept == states, pasts.len()), ((0, 1), true, 1), "windows have what is left");
        assert_eq!(pasts[0].window.series(long.key.clone()), long);
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
