//! Reads files up to a limit, and writes files so that nothing is ever half written.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Why a file could not be written. What stood at the path before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The path is a folder, a device, a pipe or a socket.
    #[error("cannot write {}: it is a {found}, expected a file or a new name", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
        /// What stands there.
        found: &'static str,
    },
    /// The path has no file name, or its folder does not exist.
    #[error("cannot write {}: the folder {} does not exist; make it first", path.display(), folder.display())]
    NoFolder {
        /// The path as given.
        path: PathBuf,
        /// The folder that is missing.
        folder: PathBuf,
    },
    /// The system refused, such as a full disk or a folder without the right to write.
    #[error("cannot write {}: {cause}", path.display())]
    Io {
        /// The path as given.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
}

/// Writes `bytes` to `path`: a temporary file in the same folder, flushed to the disk, then renamed.
///
/// Whatever happens on the way, `path` holds either what it held before or all of `bytes`. A link is followed.
///
/// # Errors
/// If the folder is missing or refuses the file, the disk is full, or `path` is something other than a file.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("loss.csv");
/// trainer::fs::write_atomically(&path, b"step,loss\n")?;
/// assert_eq!(std::fs::read(&path)?, b"step,loss\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let target = resolve(path)?;
    let folder = folder_of(&target);
    if !folder.is_dir() {
        return Err(OutputError::NoFolder {
            path: path.into(),
            folder,
        });
    }
    replace(&target, &folder, bytes).map_err(|cause| OutputError::Io {
        path: path.into(),
        cause,
    })
}

/// Reads a whole file of at most `max_bytes`. A device or a pipe without an end is not read further.
///
/// # Errors
/// Returns an error if the file cannot be read or is larger.
pub fn read_at_most(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(max_bytes + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let message = format!("it has more than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// The prefix of the names of files that are being written.
const TEMPORARY: &str = ".writing-";

/// Removes the temporary files that killed processes left in `folder` during [`write_atomically`].
///
/// Files that are being written are locked and stay, as do files that cannot be removed.
pub fn remove_stale_temp(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let left = |file: File| file.try_lock().is_ok();
        if ours && File::open(entry.path()).is_ok_and(left) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The file that `path` names, links followed.
fn resolve(path: &Path) -> Result<PathBuf, OutputError> {
    let fail = |cause| OutputError::Io {
        path: path.into(),
        cause,
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => fs::canonicalize(path).map_err(fail),
        Ok(metadata) => {
            let found = if metadata.is_dir() {
                "folder"
            } else {
                "device or pipe"
            };
            Err(OutputError::NotAFile {
                path: path.into(),
                found,
            })
        }
        // A link to nothing yet would be replaced by the rename: write where it points.
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(target) => Ok(folder_of(path).join(target)),
            Err(_) => Ok(path.into()),
        },
        Err(error) => Err(fail(error)),
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.into(),
        _ => PathBuf::from("."),
    }
}

fn replace(target: &Path, folder: &Path, bytes: &[u8]) -> io::Result<()> {
    // Opened as any file is, so that the umask decides who may read it; tempfile's own are private.
    let open = |path: &Path| File::options().write(true).create_new(true).open(path);
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .make_in(folder, open)?;
    // For `sweep`; a file system without locks does as well without it.
    let _ = file.as_file().try_lock();
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    // The rename itself lasts once the folder is on the disk. Not every system can open a folder.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_a_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, b"first").unwrap();
        write_atomically(&path, b"second, longer").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second, longer");
        write_atomically(&path, b"").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn only_what_nobody_writes_any_more_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        for name in [".writing-dead", ".writing-alive", "kept"] {
            fs::write(path(name), b"half").unwrap();
        }
        let alive = File::open(path(".writing-alive")).unwrap();
        alive.lock().unwrap();
        remove_stale_temp(folder.path());
        assert_eq!(names(folder.path()), [".writing-alive", "kept"]);
        drop(alive);
        remove_stale_temp(folder.path());
        assert_eq!(names(folder.path()), ["kept"]);
        remove_stale_temp(&path("none"));
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_atomically(&ours, b"x").unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("real", &link).unwrap();
        for text in [b"dangling", b"existing"] {
            write_atomically(&link, text).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(fs::read(folder.path().join("real")).unwrap(), text);
        }
    }

    #[test]
    fn refuses_folders_and_missing_folders_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomically(folder.path(), b"x")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("it is a folder") && error.contains(&*folder.path().to_string_lossy()),
            "{error}"
        );
        let error = write_atomically(&folder.path().join("none/a.txt"), b"x")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("none does not exist") && error.contains("a.txt"),
            "{error}"
        );
        let file = folder.path().join("file");
        fs::write(&file, b"kept").unwrap();
        write_atomically(&file.join("a.txt"), b"x").unwrap_err();
        write_atomically(Path::new(""), b"x").unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), b"kept");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn refuses_devices_and_unwritable_folders() {
        let error = write_atomically(Path::new("/dev/full"), b"x")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/dev/full") && error.contains("device"),
            "{error}"
        );
        // Not even root may make a file here.
        let error = write_atomically(Path::new("/proc/self/a.txt"), b"x")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/proc/self/a.txt") && !error.contains(".writing-"),
            "{error}"
        );
    }

    /// A limit on the size of files fails a write half way, as a full disk does.
    #[cfg(unix)]
    #[test]
    fn a_write_that_fails_half_way_changes_nothing() {
        const FOLDER: &str = "PIPSQUEAK_TEST_FULL_DISK";
        if let Some(folder) = std::env::var_os(FOLDER) {
            let error =
                write_atomically(&Path::new(&folder).join("a.txt"), &[7; 1 << 20]).unwrap_err();
            assert!(matches!(error, OutputError::Io { .. }), "{error}");
            assert!(error.to_string().contains("a.txt"), "{error}");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), b"before").unwrap();
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "fs::tests::a_write_that_fails_half_way_changes_nothing",
            ])
            .env(FOLDER, folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && said.contains("1 passed"),
            "{said}"
        );
        assert_eq!(fs::read(folder.path().join("a.txt")).unwrap(), b"before");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }
}
