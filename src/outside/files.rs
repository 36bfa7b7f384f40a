//! Files: bounded reads, durable writes, exclusive locks, private folders. Paths and bytes come in, bytes and
//! locks go out. A read never takes more than its caller named, and a write is either the old file or the new
//! one, never a part of one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// Most files that are written at the same time.
const WRITERS_MAX: usize = 16;

/// What went wrong with a file.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("cannot {what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is larger than {bytes_max} bytes")]
    TooLarge { path: PathBuf, bytes_max: usize },
    #[error("{path} is locked by another process")]
    Locked { path: PathBuf },
}

impl FileError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }

    /// Whether the path simply does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens a file that is too large to be held at once: what to read of it, and how many bytes it has.
///
/// # Errors
/// When it cannot be opened, or holds more than `bytes_max`.
pub fn open_bounded(path: &Path, bytes_max: u64) -> Result<(impl Read, u64), FileError> {
    let file = File::open(path).map_err(|e| FileError::io("open", path, e))?;
    let bytes = file.metadata().map_err(|e| FileError::io("look at", path, e))?.len();
    if bytes > bytes_max {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        return Err(FileError::TooLarge { path: path.to_owned(), bytes_max });
    }
    Ok((BufReader::new(file.take(bytes)), bytes))
}

/// Reads a whole file of at most `bytes_max` bytes.
///
/// # Errors
/// When it cannot be read, or holds more.
pub fn read_bounded(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(|e| FileError::io("open", path, e))?;
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know; the length in the metadata can lie (pipes, /proc).
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|e| FileError::io("read", path, e))?;
    if bytes.len() > bytes_max {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}

/// Replaces `path` by `bytes`, owner-only (0600): temporary file in the same folder, flush to disk, rename,
/// flush of the folder. A crash leaves the old file or the new one.
///
/// # Errors
/// When any step fails; the old file is then untouched.
pub fn write_durable(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_durable_by(path, |file| file.write_all(bytes))
}

/// Replaces `path` as [`write_durable`] does, by what `write` writes piece by piece.
///
/// # Errors
/// When any step fails, or `write` does; the old file is then untouched.
pub fn write_durable_by(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    replace(dir, path, write)?;
    flush(dir)
}

/// Replaces many files of the folder `dir`, each as [`write_durable`] does. A disk that takes milliseconds for one flush
/// takes many of them at once in the same time, and the folder is flushed once.
///
/// # Errors
/// When any step fails; each file is then the old or the new one.
pub fn write_all_durable(dir: &Path, files: &[(PathBuf, Vec<u8>)]) -> Result<(), FileError> {
    let write = |share: &[(PathBuf, Vec<u8>)]| {
        share.iter().try_for_each(|(path, bytes)| replace(dir, path, |file| file.write_all(bytes)))
    };
    match files {
        [] => return Ok(()),
        [_] => write(files)?,
        _ => std::thread::scope(|scope| {
            let shares = files.chunks(files.len().div_ceil(WRITERS_MAX));
            let start = |share| {
                let started = std::thread::Builder::new().spawn_scoped(scope, move || write(share));
                started.map_err(|e| FileError::io("start a writer in", dir, e))
            };
            let writers = shares.map(start).collect::<Result<Vec<_>, _>>()?;
            writers.into_iter().try_for_each(|it| it.join().unwrap_or_else(|it| resume_unwind(it)))
        })?,
    }
    flush(dir)
}

fn replace(
    dir: &Path,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let temp = tempfile::NamedTempFile::new_in(dir).map_err(|e| FileError::io("write in", dir, e))?;
    let mut buffer = BufWriter::new(temp.as_file());
    write(&mut buffer).and_then(|()| buffer.flush()).map_err(|e| FileError::io("write", path, e))?;
    drop(buffer);
    temp.as_file().sync_all().map_err(|e| FileError::io("flush", path, e))?;
    temp.persist(path).map(|_| ()).map_err(|e| FileError::io("replace", path, e.error))
}

fn flush(dir: &Path) -> Result<(), FileError> {
    let dir_file = File::open(dir).map_err(|e| FileError::io("open", dir, e))?;
    dir_file.sync_all().map_err(|e| FileError::io("flush", dir, e))
}

/// Writes a file that must not exist yet, with the given permission bits.
///
/// # Errors
/// When it exists, or cannot be written.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|e| FileError::io("create", path, e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| FileError::io("write", path, e))
}

/// Tells this program's file from another build of it: its length and when it was written. `None` when the file
/// is gone, as after an upgrade under a running program.
#[must_use]
pub fn program_stamp() -> Option<String> {
    let program = fs::metadata(std::env::current_exe().ok()?).ok()?;
    Some(format!("{}-{}-{}", program.len(), program.mtime(), program.mtime_nsec()))
}

/// The permission bits of a file (symbolic links followed), for tests; what may be read is asked of [`exposed`].
///
/// # Errors
/// When it cannot be looked at.
#[cfg(test)]
pub fn permission_bits(path: &Path) -> Result<u32, FileError> {
    Ok(fs::metadata(path).map_err(|e| FileError::io("look at", path, e))?.mode() & 0o7777)
}

/// The permission bits of a file that somebody else than its owner can read; `None` when nobody can (symbolic links
/// followed).
///
/// # Errors
/// When it cannot be looked at.
pub fn exposed(path: &Path) -> Result<Option<u32>, FileError> {
    let found = fs::metadata(path).map_err(|e| FileError::io("look at", path, e))?;
    let mode = found.mode() & 0o7777;
    Ok(is_exposed(mode, found.uid(), rustix::process::geteuid().as_raw()).then_some(mode))
}

/// A secret of Kubernetes belongs to root, and its group is how a pod that is not root reads it: no mode of the
/// volume makes that file the pod's own. The group of a file of our own has no such excuse.
fn is_exposed(mode: u32, owner: u32, reader: u32) -> bool {
    let allowed = if owner == 0 && reader != 0 { 0o740 } else { 0o700 };
    mode & 0o777 & !allowed != 0
}

/// An exclusive lock, held until dropped and freed by the kernel when the process dies, however it dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock file at `path` without waiting; the file is created when missing.
///
/// # Errors
/// [`FileError::Locked`] when another holder has it, or when the file under that name was replaced meanwhile.
pub fn lock_exclusive(path: &Path) -> Result<Lock, FileError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| FileError::io("open", path, e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(FileError::Locked { path: path.to_owned() }),
        Err(errno) => return Err(FileError::io("lock", path, errno.into())),
    }
    if has_name(&file, path) {
        Ok(Lock { _file: file })
    } else {
        Err(FileError::Locked { path: path.to_owned() })
    }
}

/// Whether `path` still names this open file. Someone who cleans up may have removed the name between our
/// open and our lock, and a lock on a file without a name protects nothing.
fn has_name(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => named.ino() == held.ino() && named.dev() == held.dev(),
        _ => false,
    }
}

/// Creates a folder and its parents, owner-only (0700). An existing folder is kept as it is.
///
/// # Errors
/// When it cannot be created.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| FileError::io("create the folder", path, e))
}

/// Removes a folder and everything in it; links are removed, not followed. A missing folder is fine.
///
/// # Errors
/// When something in it cannot be removed.
pub fn remove_dir(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::io("remove the folder", path, e)),
        _ => Ok(()),
    }
}

/// Removes one file. A missing file is fine.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// The names in a folder, sorted, at most `entries_max`; names that are not UTF-8 are left out.
///
/// # Errors
/// When the folder cannot be read.
pub fn names_in(path: &Path, entries_max: usize) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| FileError::io("list", path, e))?.take(entries_max) {
        let entry = entry.map_err(|e| FileError::io("list", path, e))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Most files and folders that are counted before a folder is called too large.
const COUNTED_MAX: usize = 1_000_000;

/// Do the files in a folder and below it hold more than `bytes_max`? Links count as themselves. What comes and
/// goes while it is looked at may be missed; too many files are too many bytes.
#[must_use]
pub fn holds_more(path: &Path, bytes_max: u64) -> bool {
    let (mut bytes, mut counted) = (0_u64, 0_usize);
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            counted += 1;
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => bytes = bytes.saturating_add(found.len()),
                Err(_) => {}
            }
            if bytes > bytes_max || counted > COUNTED_MAX {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_stops_at_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_durable(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert!(matches!(read_bounded(&path, 4), Err(FileError::TooLarge { bytes_max: 4, .. })));
        // Endless and without a length in its metadata.
        assert!(matches!(read_bounded(Path::new("/dev/zero"), 10), Err(FileError::TooLarge { .. })));
        assert!(read_bounded(&dir.path().join("none"), 1).unwrap_err().is_not_found());
    }

    #[test]
    fn a_durable_write_replaces_and_leaves_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_durable(&path, b"old").unwrap();
        write_durable(&path, b"new").unwrap();
        assert_eq!(read_bounded(&path, 10).unwrap(), b"new");
        assert_eq!(permission_bits(&path).unwrap(), 0o600);
        assert_eq!(names_in(dir.path(), 10).unwrap(), ["f"]);
    }

    #[test]
    fn a_write_that_fails_half_way_leaves_the_old_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_durable(&path, b"old").unwrap();
        let failed = write_durable_by(&path, |file| {
            file.write_all(&[1; 100_000])?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(failed, Err(FileError::Io { what: "write", .. })), "{failed:?}");
        assert_eq!(read_bounded(&path, 10).unwrap(), b"old");
        assert_eq!(names_in(dir.path(), 10).unwrap(), ["f"]);
    }

    #[test]
    fn a_file_too_large_to_hold_is_not_opened_beyond_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_durable(&path, b"12345").unwrap();
        let (mut reader, bytes) = open_bounded(&path, 5).unwrap();
        let mut read = Vec::new();
        assert_eq!((reader.read_to_end(&mut read).unwrap(), bytes), (5, 5));
        assert!(matches!(open_bounded(&path, 4).map(drop), Err(FileError::TooLarge { bytes_max: 4, .. })));
    }

    #[test]
    fn a_new_file_is_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_new(&path, b"one", 0o600).unwrap();
        assert!(write_new(&path, b"two", 0o600).is_err());
        assert_eq!(read_bounded(&path, 10).unwrap(), b"one");
    }

    #[test]
    fn a_folder_holds_what_is_in_it_and_below_and_not_what_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("in/below");
        create_private_dir(&below).unwrap();
        write_new(&dir.path().join("large"), &[0; 5_000], 0o600).unwrap();
        write_new(&dir.path().join("in/one"), &[0; 600], 0o600).unwrap();
        write_new(&below.join("two"), &[0; 600], 0o600).unwrap();
        std::os::unix::fs::symlink(dir.path().join("large"), below.join("link")).unwrap();
        let inside = dir.path().join("in");
        assert!(holds_more(&inside, 1_199) && !holds_more(&inside, 2_000));
        assert!(!holds_more(&dir.path().join("none"), 0));
    }

    #[test]
    fn only_the_group_of_a_file_of_roots_may_read_and_only_for_somebody_else() {
        for (mode, owner, reader) in
            [(0o600, 7, 7), (0o400, 0, 7), (0o440, 0, 7), (0o640, 0, 7), (0o600, 0, 0)]
        {
            assert!(!is_exposed(mode, owner, reader), "{mode:o} of {owner} for {reader}");
        }
        for (mode, owner, reader) in [
            (0o440, 7, 7),
            (0o440, 8, 7),
            (0o440, 0, 0),
            (0o660, 0, 7),
            (0o444, 0, 7),
            (0o404, 0, 7),
            (0o450, 0, 7),
        ] {
            assert!(is_exposed(mode, owner, reader), "{mode:o} of {owner} for {reader}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_new(&path, b"x", 0o600).unwrap();
        assert_eq!(exposed(&path).unwrap(), None);
        let shared = dir.path().join("shared");
        write_new(&shared, b"x", 0o604).unwrap();
        assert_eq!(exposed(&shared).unwrap(), Some(0o604));
    }

    #[test]
    fn a_lock_has_one_holder_and_is_free_after_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = lock_exclusive(&path).unwrap();
        assert!(matches!(lock_exclusive(&path), Err(FileError::Locked { .. })));
        drop(first);
        lock_exclusive(&path).unwrap();
    }

    #[test]
    fn a_lock_on_a_file_that_was_replaced_meanwhile_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock_exclusive(&path).unwrap();
        assert!(has_name(&held._file, &path));
        remove_file(&path).unwrap();
        assert!(!has_name(&held._file, &path));
        let _second = lock_exclusive(&path).unwrap();
        assert!(!has_name(&held._file, &path));
    }

    #[test]
    fn removing_a_folder_does_not_follow_links_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        create_private_dir(&inside).unwrap();
        create_private_dir(&outside).unwrap();
        write_new(&outside.join("precious"), b"x", 0o600).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        assert_eq!(permission_bits(&inside).unwrap(), 0o700);
        remove_dir(&inside).unwrap();
        remove_dir(&inside).unwrap();
        assert!(outside.join("precious").exists());
    }
}
