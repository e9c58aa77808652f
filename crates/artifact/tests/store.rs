//! The store on a real directory.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use sluice_artifact::{Address, Error, Home, Options, Published, Retention, State, Store};
use sluice_tree::{Entry, Files, Ignore, Kind, Memory, PackLimits, pack};
use sluice_types::{Algorithm, Digest, RelPath};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

fn store(root: &TempDir, change: impl FnOnce(&mut Options)) -> Store {
    let mut options = Options::new(root.path().to_owned(), "http://localhost:9090".to_owned());
    change(&mut options);
    Store::open(options).unwrap()
}

fn address(file: &str) -> Address {
    Home::new("GitRepository", "apps", "podinfo").unwrap().file(file).unwrap()
}

async fn publish(store: &Store, file: &str, tree: impl Files + 'static) -> Result<Published, Error> {
    let cancel = CancellationToken::new();
    store.publish(&address(file), Arc::new(tree), Arc::new(Ignore::none()), &cancel).await
}

/// A tree whose files have identities, and which counts reads.
struct Counted {
    tree: Memory,
    reads: Arc<AtomicUsize>,
}

impl Files for Counted {
    fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, sluice_tree::Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.tree.read(path)
    }

    fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, sluice_tree::Error> {
        self.tree.list(dir)
    }

    fn kind(&self, path: &RelPath) -> Result<Kind, sluice_tree::Error> {
        self.tree.kind(path)
    }

    fn identity(&self, path: &RelPath) -> Option<[u8; 20]> {
        let digest = Digest::of(Algorithm::Sha1, &self.tree.read(path).ok()?);
        let mut id = [0; 20];
        hex::decode_to_slice(digest.hex(), &mut id).ok()?;
        Some(id)
    }
}

fn apps(changed: usize) -> Memory {
    let mut tree = Memory::default();
    for n in 0..1000 {
        let text = if n == changed { "changed".to_owned() } else { format!("app {n}") };
        tree.insert(&RelPath::new(&format!("apps/{n}/app.yaml")).unwrap(), text.into_bytes()).unwrap();
    }
    tree
}

#[tokio::test]
async fn a_published_tree_is_there_intact_and_reads_back() {
    let root = TempDir::new().unwrap();
    let store = store(&root, |_| {});
    let tree = Memory::of([("a/b", "text"), ("c", "")]).unwrap();
    let published = publish(&store, "1.tar.gz", tree.clone()).await.unwrap();
    assert_eq!(published.path, "gitrepository/apps/podinfo/1.tar.gz");
    assert_eq!(published.url, "http://localhost:9090/gitrepository/apps/podinfo/1.tar.gz");
    let digest = published.digest.to_string();
    assert_eq!(store.check(&address("1.tar.gz"), &digest).await.unwrap(), State::Intact);
    assert_eq!(store.read(&address("1.tar.gz"), &digest).await.unwrap(), tree);
    let file = root.path().join(&published.path);
    let meta = fs::metadata(&file).unwrap();
    assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (published.size, 0o600));
    assert_eq!(Digest::of(Algorithm::Sha256, &fs::read(&file).unwrap()), published.digest);
    let index = fs::read(root.path().join(format!("{}.index", published.path))).unwrap();
    assert_eq!(Digest::of(Algorithm::Sha256, &index), published.index);
}

#[tokio::test]
async fn the_bytes_depend_on_the_tree_and_not_on_what_was_stored_before() {
    let (root, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (store, fresh) =
        (store(&root, |_| {}), store(&other, |options| options.threads = 1.try_into().unwrap()));
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = |tree| Counted { tree, reads: reads.clone() };
    publish(&store, "1.tar.gz", counted(apps(0))).await.unwrap();
    assert_eq!(reads.swap(0, Ordering::SeqCst), 1000);
    let incremental = publish(&store, "2.tar.gz", counted(apps(1))).await.unwrap();
    // The two files that differ, and their neighbours in the same members.
    assert!(reads.load(Ordering::SeqCst) < 700, "{reads:?}");
    let full = publish(&fresh, "2.tar.gz", apps(1)).await.unwrap();
    let (plain, _) = pack(&apps(1), &Ignore::none(), PackLimits::default()).unwrap();
    assert_eq!(incremental.digest, full.digest);
    assert_eq!(incremental.index, full.index);
    assert_eq!(Digest::of(Algorithm::Sha256, &plain), full.digest);
}

#[tokio::test]
async fn damaged_members_of_an_earlier_archive_are_not_copied() {
    let root = TempDir::new().unwrap();
    let store = store(&root, |_| {});
    let counted = |tree| Counted { tree, reads: Arc::default() };
    let first = publish(&store, "1.tar.gz", counted(apps(0))).await.unwrap();
    let file = root.path().join(&first.path);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let second = publish(&store, "2.tar.gz", counted(apps(0))).await.unwrap();
    assert_eq!(second.digest, first.digest);
}

#[tokio::test]
async fn altered_missing_and_unnamed_files_are_told_apart() {
    let root = TempDir::new().unwrap();
    let store = store(&root, |_| {});
    let tree = Memory::of([("a", "text")]).unwrap();
    let published = publish(&store, "1.tar.gz", tree).await.unwrap();
    let (file, digest) = (root.path().join(&published.path), published.digest.to_string());
    let check = async |digest: &str| store.check(&address("1.tar.gz"), digest).await.unwrap();
    assert!(matches!(check("").await, State::Corrupt(_)));
    let mut bytes = fs::read(&file).unwrap();
    bytes.push(0);
    fs::write(&file, bytes).unwrap();
    assert!(matches!(check(&digest).await, State::Corrupt(why) if why.contains(&digest)));
    fs::remove_file(&file).unwrap();
    assert_eq!(check(&digest).await, State::Missing);
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert_eq!(check(&digest).await, State::Missing);
}

#[tokio::test]
async fn another_algorithm_leaves_older_archives_valid() {
    let root = TempDir::new().unwrap();
    let tree = || Memory::of([("a", "text")]).unwrap();
    let old = publish(&store(&root, |_| {}), "1.tar.gz", tree()).await.unwrap();
    let store = store(&root, |options| options.algorithm = Algorithm::Blake3);
    let new = publish(&store, "2.tar.gz", tree()).await.unwrap();
    assert!(new.digest.to_string().starts_with("blake3:"));
    let state = store.check(&address("1.tar.gz"), &old.digest.to_string()).await.unwrap();
    assert_eq!(state, State::Intact);
}

/// Fails while it is read.
struct Broken;

impl Files for Broken {
    fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, sluice_tree::Error> {
        Err(sluice_tree::Error::NotFound(path.clone()))
    }

    fn list(&self, _: &RelPath) -> Result<Vec<Entry>, sluice_tree::Error> {
        Ok(vec![Entry { name: "lost".to_owned(), kind: Kind::File }])
    }

    fn kind(&self, path: &RelPath) -> Result<Kind, sluice_tree::Error> {
        Err(sluice_tree::Error::NotFound(path.clone()))
    }
}

#[tokio::test]
async fn a_failed_publication_leaves_the_old_file_and_nothing_else() {
    let root = TempDir::new().unwrap();
    let store = store(&root, |_| {});
    let old = publish(&store, "1.tar.gz", Memory::of([("a", "text")]).unwrap()).await.unwrap();
    publish(&store, "1.tar.gz", Broken).await.unwrap_err();
    let state = store.check(&address("1.tar.gz"), &old.digest.to_string()).await.unwrap();
    assert_eq!(state, State::Intact);
    let names = fs::read_dir(root.path().join("gitrepository/apps/podinfo")).unwrap();
    assert!(
        names.map(|entry| entry.unwrap().file_name()).all(|name| !name.to_string_lossy().ends_with(".tmp"))
    );
    let cancel = CancellationToken::new();
    cancel.cancel();
    let tree = Arc::new(Memory::of([("a", "b")]).unwrap());
    let stopped = store.publish(&address("1.tar.gz"), tree, Arc::new(Ignore::none()), &cancel).await;
    assert!(matches!(stopped, Err(Error::Cancelled)));
}

#[tokio::test]
async fn a_file_that_somebody_else_is_writing_is_not_touched() {
    let root = TempDir::new().unwrap();
    let store = store(&root, |_| {});
    let tree = || Memory::of([("a", "text")]).unwrap();
    publish(&store, "1.tar.gz", tree()).await.unwrap();
    let lock = fs::File::open(root.path().join("gitrepository/apps/podinfo/1.tar.gz.lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(publish(&store, "1.tar.gz", tree()).await, Err(Error::Lock(_))));
}

#[tokio::test]
async fn collecting_removes_what_is_superseded_and_removing_takes_everything() {
    let root = TempDir::new().unwrap();
    let store =
        store(&root, |options| options.retention = Retention { ttl: Duration::from_secs(60), records: 2 });
    for (number, age) in [(1, 300), (2, 30), (3, 20), (4, 0)] {
        let tree = Memory::of([("a", format!("{number}"))]).unwrap();
        let published = publish(&store, &format!("{number}.tar.gz"), tree).await.unwrap();
        let file = fs::File::options().write(true).open(root.path().join(published.path)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    assert_eq!(store.collect(&address("4.tar.gz")).await.unwrap(), 2);
    let directory = root.path().join("gitrepository/apps/podinfo");
    let mut names: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".gz") || name.ends_with(".index"))
        .collect();
    names.sort();
    assert_eq!(names, ["3.tar.gz", "3.tar.gz.index", "4.tar.gz", "4.tar.gz.index"]);
    let home = Home::new("gitrepository", "apps", "podinfo").unwrap();
    assert!(store.remove(&home).await.unwrap());
    assert!(!directory.exists());
    assert!(!root.path().join("gitrepository/apps").exists(), "the namespace had no other object");
    assert!(!store.remove(&home).await.unwrap());
    assert_eq!(store.collect(&address("4.tar.gz")).await.unwrap(), 0);
}

#[tokio::test]
async fn a_link_follows_the_latest_archive() {
    let root = TempDir::new().unwrap();
    let store = store(&root, |_| {});
    for number in ["1", "2"] {
        let file = format!("{number}.tar.gz");
        publish(&store, &file, Memory::of([("a", number)]).unwrap()).await.unwrap();
        let url = store.link(&address(&file), "latest.tar.gz").await.unwrap();
        assert_eq!(url, "http://localhost:9090/gitrepository/apps/podinfo/latest.tar.gz");
        let link = fs::read_link(root.path().join("gitrepository/apps/podinfo/latest.tar.gz")).unwrap();
        assert!(link.ends_with(file));
    }
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    let options = Options::new("/nowhere/at/all".into(), String::new());
    assert!(matches!(Store::open(options), Err(Error::Root(_))));
}

#[tokio::test]
async fn a_crowded_directory_is_collected_piece_by_piece() {
    let root = TempDir::new().unwrap();
    let store = store(&root, |_| {});
    publish(&store, "now.tar.gz", apps(0)).await.unwrap();
    let home = root.path().join("gitrepository/apps/podinfo");
    let old = SystemTime::now() - Duration::from_secs(3600);
    for number in 0..1200 {
        let file = fs::File::create(home.join(format!("{number}.tar.gz"))).unwrap();
        file.set_modified(old).unwrap();
    }
    let now = address("now.tar.gz");
    let first = store.collect(&now).await.unwrap();
    assert!((1..=1000).contains(&first), "{first}");
    while store.collect(&now).await.unwrap() > 0 {}
    let left = fs::read_dir(&home).unwrap().count();
    assert_eq!(
        left,
        fs::read_dir(&home)
            .unwrap()
            .filter(|entry| {
                entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("now.tar.gz")
            })
            .count()
    );
    assert!(home.join("now.tar.gz").is_file());
}
