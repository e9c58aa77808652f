use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use sluice_tree::{Files, Ignore, Memory, unpack_to_memory};
use sluice_types::{Algorithm, Digest, Hasher};
use tokio_util::sync::CancellationToken;

use crate::address::{Address, Home};
use crate::archive::{self, Job};
use crate::collect::{self, Stored};
use crate::error::{Error, io};
use crate::record::{Previous, Record};
use crate::store::{Options, Published, State};
use crate::{INDEX_SUFFIX, LOCK_SUFFIX, RECORD_SUFFIX, TEMP_SUFFIX};

/// The blocking side of the store.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) options: Options,
    /// Files whose bytes were hashed, and how they looked then.
    verified: Mutex<HashMap<PathBuf, (Look, Digest)>>,
    sequence: AtomicU64,
}

/// What changes when a file's bytes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Look {
    pub(crate) fn at(path: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() => Ok(Some(Self {
                inode: meta.ino(),
                size: meta.len(),
                seconds: meta.mtime(),
                nanoseconds: meta.mtime_nsec(),
            })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Shelf {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, verified: Mutex::default(), sequence: AtomicU64::new(0) }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.options.root.join(path)
    }

    fn temporary(&self, path: &str) -> PathBuf {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        self.at(&format!("{path}.{}-{number}{TEMP_SUFFIX}", std::process::id()))
    }

    pub(crate) fn publish(
        &self,
        address: &Address,
        files: &dyn Files,
        ignore: &Ignore,
        cancel: &CancellationToken,
    ) -> Result<Published, Error> {
        let (path, home) = (address.path(), address.home.as_str());
        let directory = self.at(home);
        let make = || {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.map_err(|source| Error::CreateDirectory { path: home.to_owned(), source })
        };
        let lock = || {
            make()?;
            create(&self.at(&format!("{path}{LOCK_SUFFIX}")), false).map_err(io("lock", &path))
        };
        // Whoever removes the last of its neighbours takes the directory above along.
        let lock = lock().or_else(|_| lock())?;
        lock.try_lock().map_err(|_| Error::Lock(path.clone()))?;

        let previous = Previous::open(&directory);
        let options = &self.options;
        let job = Job {
            files,
            ignore,
            limits: options.pack,
            algorithm: options.algorithm,
            threads: options.threads,
            cancel,
            previous: previous.as_ref(),
        };
        let temporary = Temporary(self.temporary(&path));
        let out = create(&temporary.0, true).map_err(io("create", &path))?;
        let written = archive::write(&job, out, &path)?;

        let index = written.index.to_text();
        self.replace(&format!("{path}{INDEX_SUFFIX}"), index.as_bytes())?;
        self.replace_record(&path, &written.record);
        fs::rename(&temporary.0, self.at(&path)).map_err(io("rename", &path))?;

        if let Ok(Some(look)) = Look::at(&self.at(&path)) {
            self.remember(self.at(&path), look, written.digest.clone());
        }
        Ok(Published {
            url: format!("{}/{path}", options.url_prefix),
            path,
            digest: written.digest,
            size: written.size,
            index: Digest::of(Algorithm::Sha256, index.as_bytes()),
            written: SystemTime::now(),
        })
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let temporary = Temporary(self.temporary(path));
        let written = create(&temporary.0, true).and_then(|mut file| io::Write::write_all(&mut file, bytes));
        written.and_then(|()| fs::rename(&temporary.0, self.at(path))).map_err(io("write", path))
    }

    /// A record that cannot be kept only makes the next archive slower.
    fn replace_record(&self, path: &str, record: &Record) {
        let kept =
            serde_json::to_vec(record).map(|text| self.replace(&format!("{path}{RECORD_SUFFIX}"), &text));
        if !matches!(kept, Ok(Ok(()))) {
            tracing::debug!(path, "cannot keep the record of an archive's members");
        }
    }

    fn remember(&self, path: PathBuf, look: Look, digest: Digest) {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(path, (look, digest));
    }

    fn forget(&self, gone: impl Fn(&Path) -> bool) {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).retain(|path, _| !gone(path));
    }

    pub(crate) fn check(&self, address: &Address, digest: &str) -> Result<State, Error> {
        let path = address.path();
        let file = self.at(&path);
        let Some(look) = Look::at(&file).map_err(io("look at", &path))? else { return Ok(State::Missing) };
        let expected = match Digest::parse(digest) {
            Ok(digest) => digest,
            Err(error) => return Ok(State::Corrupt(error.to_string())),
        };
        {
            let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
            if verified.get(&file).is_some_and(|known| *known == (look, expected.clone())) {
                return Ok(State::Intact);
            }
        }
        let actual = hash(&file, expected.algorithm()).map_err(io("read", &path))?;
        if actual != expected {
            let why = format!("computed digest '{actual}' doesn't match expected '{expected}'");
            return Ok(State::Corrupt(why));
        }
        self.remember(file, look, actual);
        Ok(State::Intact)
    }

    pub(crate) fn read(&self, address: &Address, digest: &str) -> Result<Memory, Error> {
        match self.check(address, digest)? {
            State::Intact => {
                let path = address.path();
                let file = File::open(self.at(&path)).map_err(io("open", &path))?;
                Ok(unpack_to_memory(io::BufReader::new(file), self.options.unpack)?)
            }
            State::Missing => Err(Error::Corrupt(format!("artifact '{}' is missing", address.path()))),
            State::Corrupt(why) => Err(Error::Corrupt(why)),
        }
    }

    pub(crate) fn link(&self, address: &Address, path: &str) -> Result<(), Error> {
        let temporary = Temporary(self.temporary(path));
        symlink(self.at(&address.path()), &temporary.0)
            .and_then(|()| fs::rename(&temporary.0, self.at(path)))
            .map_err(io("link", path))
    }

    pub(crate) fn discard(&self, home: &Home, name: &str) -> Result<(), Error> {
        for suffix in ["", INDEX_SUFFIX, RECORD_SUFFIX, LOCK_SUFFIX] {
            self.delete(home, &format!("{name}{suffix}"))?;
        }
        Ok(())
    }

    fn delete(&self, home: &Home, name: &str) -> Result<(), Error> {
        let path = format!("{home}/{name}");
        let file = self.at(&path);
        self.forget(|known| known == file);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn collect(&self, current: &Address) -> Result<usize, Error> {
        let (home, started) = (&current.home, Instant::now());
        let entries = match fs::read_dir(self.at(home.as_str())) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(io("list", home.as_str())(error)),
        };
        let mut files = Vec::new();
        for entry in entries.take(collect::FILES) {
            let entry = entry.map_err(io("list", home.as_str()))?;
            let (Ok(meta), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) else { continue };
            if let (true, Ok(modified)) = (meta.is_file(), meta.modified()) {
                files.push(Stored { modified, name });
            }
        }
        let garbage = collect::plan(files, &current.file, self.options.retention, SystemTime::now());
        let mut count = 0;
        for name in garbage.archives {
            if started.elapsed() > collect::BUDGET {
                break;
            }
            self.discard(home, &name)?;
            count += 1;
        }
        for name in garbage.attendants {
            self.delete(home, &name)?;
        }
        Ok(count)
    }

    pub(crate) fn remove(&self, home: &Home) -> Result<bool, Error> {
        let directory = self.at(home.as_str());
        self.forget(|known| known.starts_with(&directory));
        match fs::remove_dir_all(&directory) {
            Ok(()) => {
                // The namespace's directory goes with its last object.
                let _ = directory.parent().map(fs::remove_dir);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io("remove", home.as_str())(error)),
        }
    }
}

/// Removes the file unless it was renamed away.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn create(path: &Path, fresh: bool) -> io::Result<File> {
    File::options().write(true).create(true).create_new(fresh).truncate(fresh).mode(0o600).open(path)
}

fn hash(path: &Path, algorithm: Algorithm) -> io::Result<Digest> {
    let (mut file, mut hasher) = (File::open(path)?, Hasher::new(algorithm));
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}
