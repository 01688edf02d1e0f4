#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn store(folder: &tempfile::TempDir) -> Store {
    Store::open(folder.path().to_str().unwrap()).unwrap()
}

#[tokio::test]
async fn an_object_is_created_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    assert!(store.create("events/day=2026-11-26/a.parquet", b"first".to_vec()).await.unwrap());
    assert!(!store.create("events/day=2026-11-26/a.parquet", b"second".to_vec()).await.unwrap());
    let read = store.read("events/day=2026-11-26/a.parquet").await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"first"[..]));
    assert!(folder.path().join("events/day=2026-11-26/a.parquet").is_file(), "a name is kept as it is");
    assert_eq!(store.read("events/b").await.unwrap(), None);
    let listed = store.list("events").await.unwrap();
    assert_eq!(listed, [("events/day=2026-11-26/a.parquet".to_owned(), 5)]);
    assert_eq!(store.folders("events").await.unwrap(), ["day=2026-11-26"]);
    assert!(store.folders("decisions").await.unwrap().is_empty());
    store.remove(["events/day=2026-11-26/a.parquet".to_owned(), "events/gone".to_owned()]).await.unwrap();
    assert_eq!(store.list("events").await.unwrap(), []);
}

#[tokio::test]
async fn a_directory_has_one_that_lands() {
    let folder = tempfile::tempdir().unwrap();
    let held = store(&folder).lock().unwrap();
    assert!(matches!(store(&folder).lock(), Err(StoreError::InUse(_))));
    drop(held);
    store(&folder).lock().unwrap();
}

#[test]
fn a_place_that_is_none_is_refused() {
    let check = |to: &str, expected: &str| {
        let why = Store::open(to).unwrap_err().to_string();
        assert!(why.contains(expected) && why.contains("s3://BUCKET/PREFIX"), "{why}");
    };
    check("s3://", "it names no bucket");
    check("gs://bucket/lake", "those that speak S3");
    check("/dev/null/lake", "Not a directory");
    assert!(Store::open_existing("/nowhere").unwrap_err().to_string().contains("no such directory"));
}

#[test]
fn what_a_killed_process_half_wrote_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().display().to_string()).unwrap();
    let day = folder.path().join("events/day=2026-11-26");
    std::fs::create_dir_all(&day).unwrap();
    let [staged, part, other] = ["a.parquet#1", "a.parquet", "notes#1"].map(|name| day.join(name));
    for file in [&staged, &part, &other] {
        std::fs::write(file, "x").unwrap();
    }
    store.clear_staged(&["events", "decisions"]).unwrap();
    assert_eq!([staged, part, other].map(|file| file.exists()), [false, true, true]);
}
