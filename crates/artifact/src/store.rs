use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sluice_tree::{Files, Ignore, Memory, PackLimits, UnpackLimits};
use sluice_types::{Algorithm, Digest};
use tokio_util::sync::CancellationToken;

use crate::address::{Address, Home};
use crate::collect::Retention;
use crate::error::Error;
use crate::shelf::Shelf;

/// How a store works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that everything lies under; it must exist.
    pub root: PathBuf,
    /// What goes before `/<path>` in URLs; see [`crate::advertised`].
    pub url_prefix: String,
    /// Names new archives; older ones are verified with the algorithm that they were named by.
    pub algorithm: Algorithm,
    /// What stays of superseded archives.
    pub retention: Retention,
    /// How large a tree may be.
    pub pack: PackLimits,
    /// How large a stored archive may be when it is read back.
    pub unpack: UnpackLimits,
    /// How many threads pack one tree.
    pub threads: NonZeroUsize,
}

impl Options {
    /// Defaults for everything but the place.
    pub fn new(root: PathBuf, url_prefix: String) -> Self {
        Self {
            root,
            url_prefix,
            algorithm: Algorithm::Sha256,
            retention: Retention::default(),
            pack: PackLimits::default(),
            unpack: UnpackLimits::default(),
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// A stored archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Path below the root.
    pub path: String,
    /// Where consumers find it.
    pub url: String,
    /// Of the archive.
    pub digest: Digest,
    /// Of the archive, in bytes.
    pub size: u64,
    /// Of the path index beside it.
    pub index: Digest,
    /// When it was written.
    pub written: SystemTime,
}

/// What lies where an archive is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The archive, with the expected digest.
    Intact,
    /// No regular file.
    Missing,
    /// Something else; the text says what is wrong.
    Corrupt(String),
}

/// Archives under one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    shelf: Arc<Shelf>,
}

impl Store {
    /// Opens a directory.
    ///
    /// # Errors
    /// When it is missing or no directory.
    pub fn open(options: Options) -> Result<Self, Error> {
        if !options.root.is_dir() {
            return Err(Error::Root(options.root.display().to_string()));
        }
        Ok(Self { shelf: Arc::new(Shelf::new(options)) })
    }

    /// The directory that everything lies under.
    pub fn root(&self) -> &Path {
        &self.shelf.options.root
    }

    /// Where consumers find a path today.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.shelf.options.url_prefix)
    }

    /// Packs a tree, without what the rules exclude, and puts it in place of whatever is there. Until then
    /// the old file stays as it is. What an earlier archive of the same object holds is copied from it.
    ///
    /// # Errors
    /// See [`Error`]. Tripping `cancel` ends it with [`Error::Cancelled`].
    pub async fn publish(
        &self,
        address: &Address,
        files: Arc<dyn Files>,
        ignore: Arc<Ignore>,
        cancel: &CancellationToken,
    ) -> Result<Published, Error> {
        let (shelf, address, cancel) = (self.shelf.clone(), address.clone(), cancel.clone());
        let published = blocking(move || shelf.publish(&address, &*files, &ignore, &cancel)).await?;
        // On its way to the disk, but not waited for: what a power failure leaves is seen by its digest.
        let file = self.shelf.at(&published.path);
        drop(tokio::task::spawn_blocking(move || File::open(file).and_then(|file| file.sync_all())));
        Ok(published)
    }

    /// Looks whether an archive is there and intact. The bytes are hashed the first time, and again when
    /// the file looks different from then.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn check(&self, address: &Address, digest: &str) -> Result<State, Error> {
        let (shelf, address, digest) = (self.shelf.clone(), address.clone(), digest.to_owned());
        blocking(move || shelf.check(&address, &digest)).await
    }

    /// Reads a stored archive back, verified.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is missing or not what the digest says; see [`Error`].
    pub async fn read(&self, address: &Address, digest: &str) -> Result<Memory, Error> {
        let (shelf, address, digest) = (self.shelf.clone(), address.clone(), digest.to_owned());
        blocking(move || shelf.read(&address, &digest)).await
    }

    /// Removes one archive and what belongs to it.
    ///
    /// # Errors
    /// When a file is there and cannot be removed.
    pub async fn discard(&self, address: &Address) -> Result<(), Error> {
        let (shelf, address) = (self.shelf.clone(), address.clone());
        blocking(move || shelf.discard(&address.home, &address.file)).await
    }

    /// Removes what the retention no longer covers, and says how many archives that were.
    ///
    /// # Errors
    /// When the directory cannot be read or a file cannot be removed.
    pub async fn collect(&self, current: &Address) -> Result<usize, Error> {
        let (shelf, current) = (self.shelf.clone(), current.clone());
        blocking(move || shelf.collect(&current)).await
    }

    /// Removes an object's directory; `false` when there was none.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove(&self, home: &Home) -> Result<bool, Error> {
        let (shelf, home) = (self.shelf.clone(), home.clone());
        blocking(move || shelf.remove(&home)).await
    }

    /// Points a name beside an archive at it, such as `latest.tar.gz`, and answers the name's URL.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub async fn link(&self, address: &Address, name: &str) -> Result<String, Error> {
        let (shelf, address) = (self.shelf.clone(), address.clone());
        let link = address.home.file(name)?.path();
        let path = link.clone();
        blocking(move || shelf.link(&address, &path)).await?;
        Ok(self.url(&link))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    // A join error means that the runtime is going down, or that `work` panicked.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Cancelled))
}
