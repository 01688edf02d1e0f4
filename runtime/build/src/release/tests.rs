//! The release file: what is packed opens, and nothing else does.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use selvedge_decision::Plan;

use super::*;

fn files() -> BTreeMap<String, Vec<u8>> {
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    BTreeMap::from([
        file("release.toml", "name = \"shop\"\n"),
        file("features.toml", ""),
        file("placements/home.toml", "fallback = [\"a\"]\nactions = [{ id = \"a\" }]\n"),
        file("tests/home.test.json", "{}"),
    ])
}

fn sealed(key: &SigningKey) -> (Digest, Vec<u8>) {
    seal("shop", &files(), key)
}

/// A release file of `entries`, each listed in `release.json` as it is but for what `change` makes of the list.
fn forged(entries: &[(&str, &[u8])], change: impl FnOnce(&mut ReleaseManifest)) -> Vec<u8> {
    let list = |(path, content): &(&str, &[u8])| FileEntry {
        path: (*path).to_owned(),
        size: content.len() as u64,
        sha256: Digest::of(content).hex(),
    };
    let mut manifest = ReleaseManifest {
        format: RELEASE_FORMAT,
        runtime: OLDEST_RUNTIME.into(),
        name: "shop".into(),
        files: entries.iter().map(list).collect(),
    };
    change(&mut manifest);
    let text = serde_json::to_vec(&manifest).unwrap();
    let key = SigningKey::generate().unwrap();
    let signature = format!("{}\n", key.sign(&signed_text(&Digest::of(&text))));
    let first = [("release.json", &text[..]), ("release.sig", signature.as_bytes())];
    archive::write(first.into_iter().chain(entries.iter().copied()))
}

fn check_refused(bytes: &[u8], expected: &str) {
    let error = open(bytes, &Limits::default()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
}

#[test]
fn a_release_opens_as_it_was_sealed_and_verifies() {
    let key = SigningKey::generate().unwrap();
    let (digest, bytes) = sealed(&key);
    assert_eq!(sealed(&key), (digest, bytes.clone()), "the same files give the same bytes");
    let opened = open(&bytes, &Limits::default()).unwrap();
    assert_eq!((opened.digest, &opened.files), (digest, &files()));
    assert_eq!(opened.verify(&TrustStore::of([key.public("ops")])), Ok("ops".to_owned()));
    let stranger = SigningKey::generate().unwrap();
    assert!(opened.verify(&TrustStore::of([stranger.public("other")])).is_err());
    assert_eq!(sealed(&stranger).0, digest, "the digest does not depend on who signs");
    assert_eq!(definition(&opened).unwrap().release.name, "shop");
}

#[test]
fn any_tar_reads_it() {
    let (_, bytes) = sealed(&SigningKey::generate().unwrap());
    let mut archive = tar::Archive::new(&bytes[..]);
    let names: Vec<_> = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
    let expected = [
        "release.json",
        "release.sig",
        "features.toml",
        "placements/home.toml",
        "release.toml",
        "tests/home.test.json",
    ];
    assert_eq!(names, expected.map(std::path::PathBuf::from));
}

#[test]
fn a_hostile_file_is_refused_with_the_reason() {
    let toml: (&str, &[u8]) = ("release.toml", b"name = \"shop\"");
    let intact = forged(&[toml], |_| {});
    open(&intact, &Limits::default()).unwrap();

    check_refused(b"", "ends in the middle");
    check_refused(&intact[..intact.len() - 1], "end is not its last two blocks");
    check_refused(&intact[..intact.len() - 1024], "ends in the middle");
    check_refused(&[&intact[..], b"x"].concat(), "end is not its last two blocks");
    check_refused(&[&intact[..], &[0; 512]].concat(), "end is not its last two blocks");
    check_refused(&[&intact[..intact.len() - 1024], &intact[..]].concat(), "stands twice");
    check_refused(&[0; 1024], "release.json is missing");
    check_refused(&archive::write([toml]), "stands where release.json must stand");
    check_refused(&archive::write([("release.json", &b"{}"[..]), toml]), "stands where release.sig must stand");
    check_refused(&archive::write([("release.json", &b"{}"[..]), ("release.sig", b"x")]), "is not a signature");

    for path in ["../release.toml", "/etc/passwd", "modules/../x.wasm", "modules/.x.wasm", "modules/a/b.wasm", "x", ""]
    {
        check_refused(&forged(&[(path, b"x")], |_| {}), "is not a file of a release");
    }
    check_refused(&forged(&[("tests/b.test.json", b""), ("tests/a.test.json", b"")], |_| {}), "sorted");
    check_refused(&forged(&[toml], |manifest| manifest.files.clear()), "is not listed");
    check_refused(
        &forged(&[], |manifest| {
            manifest.files.push(FileEntry { path: "release.toml".into(), size: 1, sha256: String::new() })
        }),
        "missing",
    );
    check_refused(&forged(&[toml], |manifest| manifest.files[0].size += 1), "bytes, release.json says");
    check_refused(&forged(&[toml], |manifest| manifest.files[0].sha256 = Digest::of(b"").hex()), "has sha256");
    check_refused(&forged(&[toml], |manifest| manifest.runtime = "9.0.0".into()), "needs runtime 9.0.0 or newer");
    check_refused(&forged(&[toml], |manifest| manifest.format = 2), "needs runtime");
    check_refused(&forged(&[toml], |manifest| manifest.format = 0), "format 0 is unknown");
    check_refused(&forged(&[toml], |manifest| manifest.runtime = "new".into()), "not a version");
}

#[test]
fn only_plain_files_with_plain_headers_are_read() {
    let check = |change: &dyn Fn(&mut tar::Header), expected: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_path("release.json").unwrap();
        header.set_size(0);
        header.set_mode(0o644);
        change(&mut header);
        header.set_cksum();
        check_refused(&[&header.as_bytes()[..], &[0; 1024]].concat(), expected);
    };
    check(&|header| header.set_entry_type(tar::EntryType::Symlink), "header is not as this runtime writes it");
    check(&|header| header.set_entry_type(tar::EntryType::XHeader), "header is not as this runtime writes it");
    check(&|header| header.set_mtime(1), "header is not as this runtime writes it");
    check(&|header| header.set_mode(0o755), "header is not as this runtime writes it");
    check(&|header| header.as_old_mut().size = *b"-1\0\0\0\0\0\0\0\0\0\0", "not a header of a plain file");
    check(&|header| header.set_size(u64::MAX / 2), "(max_file_bytes)");
    check(&|header| header.as_old_mut().name[0] = 0xff, "not a header of a plain file");
}

#[test]
fn the_limits_hold() {
    let (_, bytes) = sealed(&SigningKey::generate().unwrap());
    let check = |limits: Limits, expected: &str| {
        let error = open(&bytes, &limits).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let limits = Limits::default();
    check(Limits { max_files: 5, ..limits }, "more than 5 files in the release (max_files)");
    check(Limits { max_file_bytes: 20, ..limits }, "release.json: ");
    check(Limits { max_total_bytes: 1024, ..limits }, "the release file: ");
}

proptest! {
    #[test]
    fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), bits in 1u8..) {
        let key = SigningKey::generate().unwrap();
        let (_, mut bytes) = sealed(&key);
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        let opened = open(&bytes, &Limits::default());
        let believed = opened.is_ok_and(|files| files.verify(&TrustStore::of([key.public("ops")])).is_ok());
        prop_assert!(!believed, "byte {at}");
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(open(&bytes, &Limits::default()).is_err());
    }
}

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

const GOOD: &[(&str, &str)] = &[
    ("release.toml", "name = \"shop\""),
    ("features.toml", "[view.item]\nby = \"item\"\nsync = \"all\"\nfeatures = { price = \"number\" }"),
    (
        "placements/home.toml",
        "fallback = [\"a\"]\nactions = [{ id = \"a\" }, { id = \"b\" }]\nladder = [\"cheap\"]\ncontext = { cart = \"number\" }",
    ),
    (
        "modules/cheap.linear.toml",
        "link = \"identity\"\n[[input]]\nname = \"context.cart\"\nscope = \"shared\"\ntype = \"number\"\nweight = 1.0\n",
    ),
    ("tests/home.test.json", "{}"),
    ("features/item.jsonl", "{\"_key\":\"a\",\"price\":1}"),
    ("README.md", "about"),
    (".git/x", "hidden"),
    ("modules/.cheap.swp", "hidden"),
];

#[test]
fn a_folder_is_packed_the_same_every_time() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), GOOD);
    let key = SigningKey::generate().unwrap();
    let packed = pack(dir.path(), &key).unwrap();
    assert_eq!(packed, pack(dir.path(), &key).unwrap());
    let opened = open(&packed.bytes, &Limits::default()).unwrap();
    assert_eq!((opened.digest, packed.name.as_str()), (packed.digest, "shop"));
    let paths: Vec<_> = opened.files.keys().map(String::as_str).collect();
    let expected =
        ["features.toml", "modules/cheap.wasm", "placements/home.toml", "release.toml", "tests/home.test.json"];
    assert_eq!(paths, expected);
    let contents = definition(&opened).unwrap();
    assert!(contents.modules.contains_key("cheap") && contents.tests.contains_key("home"));
    contents.compile().unwrap();
}

#[test]
fn a_wrong_folder_is_told_all_its_faults() {
    let check = |changes: &[(&str, &str)], expected: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), GOOD);
        write(dir.path(), changes);
        let error = pack(dir.path(), &SigningKey::generate().unwrap()).unwrap_err().to_string();
        for expected in expected {
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        }
    };
    check(
        &[("release.toml", "nam = 1"), ("placements/home.toml", "fallbakc = []")],
        &[
            "release.toml:1: nam: unknown key",
            "placements/home.toml:1: fallbakc: unknown key",
            "did you mean \"fallback\"?",
        ],
    );
    check(&[("feature.toml", "")], &["feature.toml: is not a file of a release; did you mean \"features.toml\"?"]);
    check(&[("placement/x.toml", "")], &["placement: is not a folder of a release; did you mean \"placements\"?"]);
    check(&[("placements/sub/x.toml", "")], &["placements/sub: is a folder"]);
    check(&[("placements/home.yaml", "")], &["placements/home.yaml: is not a .toml file"]);
    check(
        &[("placements/home page.toml", "fallback = []")],
        &["placements/home page.toml: is not a file of a release"],
    );
    check(&[("modules/a.pkl", "")], &["modules: a.pkl: nothing builds such a file"]);
    check(&[("modules/a.txt", "")], &["modules/a.txt: a.txt is no model file that this builder knows"]);
    check(&[("modules/bad.wasm", "x")], &["modules/bad.wasm: "]);
    check(&[("modules/cheap.linear.toml", "link = \"identiti\"")], &["modules/cheap.linear.toml:1: "]);
    check(
        &[("placements/home.toml", "fallback = [\"a\"]\nactions = [{ id = \"a\" }]\nladder = [\"chaep\"]")],
        &["chaep"],
    );
    let empty = tempfile::tempdir().unwrap();
    let error = pack(empty.path(), &SigningKey::generate().unwrap()).unwrap_err().to_string();
    assert!(error.contains("release.toml: is missing"), "{error}");
}

#[test]
fn a_sidecar_is_read_with_its_source() {
    let key = SigningKey::generate().unwrap();
    let check = |files: &[(&str, &str)], expected: Result<u32, &str>| {
        let dir = tempfile::tempdir().unwrap();
        let table = "user.segment: symbol,> boost: number\nvip,1.5\n,1\n";
        write(dir.path(), GOOD);
        write(dir.path(), &[("modules/hero.csv", table), ("modules/hero.test.json", "{}")]);
        write(dir.path(), files);
        let rows = |packed: PackedRelease| {
            let files = open(&packed.bytes, &Limits::default()).unwrap();
            definition(&files).unwrap().modules["hero"].file.manifest.limits.rows
        };
        let found = pack(dir.path(), &key).map(rows).map_err(|error| error.to_string());
        let is_as_expected = match (&found, expected) {
            (Ok(found), Ok(expected)) => *found == expected,
            (Err(found), Err(expected)) => found.contains(expected),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        assert!(is_as_expected, "{found:?}, expected {expected:?}");
    };
    check(&[], Ok(1024));
    check(&[("modules/hero.toml", "rows = 8\n")], Ok(8));
    check(&[("modules/hero.toml", "rows = 8\nrwos = 8\n")], Err("modules/hero.toml:2: rwos: unknown key"));
    check(
        &[("modules/heor.toml", "rows = 8\n")],
        Err("modules/heor.toml: is the sidecar of a source called heor, and there is none; did you mean hero.toml?"),
    );
    let linear = ("modules/rank.linear.toml", "link = \"identity\"\ninput = []\n");
    check(
        &[linear, ("modules/rank.toml", "")],
        Err("modules/rank.toml: stands beside rank.linear.toml, which has no sidecar"),
    );
}

#[test]
fn a_release_packed_after_another_is_a_release_and_keeps_its_slots() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    fs::create_dir_all(dir.path().join("placements")).unwrap();
    fs::write(dir.path().join("release.toml"), "name = \"a\"\n").unwrap();
    let plan = |bytes: &[u8]| definition(&open(bytes, &Limits::default()).unwrap()).unwrap().compile().unwrap();
    let packed = |arms: &str, before: Option<&Plan>| {
        let text = format!(
            "actions = [{{ id = \"x\" }}]\nfallback = [\"x\"]\n[[experiment]]\nkey = \"e\"\nunit = \"subject\"\narms = [{arms}]\n"
        );
        fs::write(dir.path().join("placements/p.toml"), text).unwrap();
        match before {
            Some(before) => pack_after(dir.path(), &key, before).unwrap(),
            None => pack(dir.path(), &key).unwrap(),
        }
    };
    let halves = "{ name = \"a\", weight = 50 }, { name = \"b\", weight = 50 }";
    let three = "{ name = \"a\", weight = 40 }, { name = \"b\", weight = 40 }, { name = \"c\", weight = 20 }";
    let first = plan(&packed(halves, None).bytes);
    let next = packed(three, Some(&first));
    assert!(!plan(&next.bytes).kept_tables().is_empty(), "its slots do not follow from the weights");
    assert_eq!(packed(three, Some(&plan(&next.bytes))), next, "after itself it is itself");
    assert_ne!(packed(three, None).digest, next.digest);
}
