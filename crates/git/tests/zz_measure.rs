#![allow(clippy::all, clippy::unwrap_used, clippy::panic, unused)]
mod support;
use sluice_tree::Files;
use support::http::Server;
use support::repository::Repository;
use support::*;
fn status(what: &str) -> String {
    std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .filter(|l| what.split(',').any(|w| l.starts_with(w)))
        .collect::<Vec<_>>()
        .join(" ")
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure() {
    let (url, work) = (std::env::var("MEASURE_URL").unwrap(), std::env::var("MEASURE_WORK").unwrap());
    let work = std::path::PathBuf::from(work);
    let (client, remote) = (Client::new(), remote(&url));
    println!("before {}", status("VmHWM,VmRSS,RssAnon,RssFile"));
    for round in 0..4 {
        let started = std::time::Instant::now();
        let resolved = client.resolve(&remote, &branch("main")).await.unwrap();
        let listed = started.elapsed();
        let checkout = client.fetch(&remote, &resolved).await.unwrap();
        let fetched = started.elapsed();
        let mut bytes = 0;
        for (path, _, _) in checkout.files.entries() {
            bytes += checkout.files.read(path).unwrap().len();
        }
        println!(
            "round {round}: list {listed:?} list+fetch {fetched:?} +read all {:?} files {} bytes {bytes} skipped {:?}",
            started.elapsed(),
            checkout.files.len(),
            checkout.skipped.symlinks
        );
        println!("  {}", status("VmHWM,VmRSS,RssAnon,RssFile"));
        std::fs::write(work.join("changed.txt"), format!("{round}")).unwrap();
        support::repository::git(&work, &["add", "-A"]);
        support::repository::git(&work, &["commit", "-q", "-m", "x"]);
        support::repository::git(&work, &["push", "-q", "origin", "HEAD:refs/heads/main"]);
    }
}
