//! What `--watch` looks at. Owns which files belong to the tests of a path: the rules, what stands beside them, and all of a
//! folder; never what the tests themselves write.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use selvedge_build::build::{is_model, is_rules, sidecar_name};

use super::files::beside;

/// When each file under the paths was written last; `written` is the file that the tests write.
pub(super) fn stamps(paths: &[PathBuf], written: Option<&Path>) -> Vec<(PathBuf, Option<SystemTime>)> {
    let written = written.and_then(absolute);
    let mut stamps = Vec::new();
    let mut ahead: Vec<PathBuf> = Vec::new();
    for path in paths {
        ahead.push(path.clone());
        if !path.is_dir() {
            ahead.push(beside(path));
            ahead.extend(sidecar_name(&path.display().to_string()).map(PathBuf::from));
        }
    }
    while let Some(path) = ahead.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            // Not what a node keeps or an editor leaves, and no link that may lead back.
            let wanted = entries.filter(|entry| {
                let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let is_dir = entry.path().is_dir();
                !name.starts_with('.') && name != "out" && !(is_link && is_dir) && (is_dir || may_matter(&name))
            });
            ahead.extend(wanted.map(|entry| entry.path()));
        } else if !is_written(&path, written.as_deref()) {
            let modified = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
            stamps.push((path, modified));
        }
    }
    stamps.sort();
    stamps
}

/// Whether a file of a folder may be part of what is tested, by its ending: logs and notes are not.
fn may_matter(name: &str) -> bool {
    is_rules(name) || is_model(name) || [".json", ".toml", ".wasm"].iter().any(|ending| name.ends_with(ending))
}

/// Whether it is the file that the tests write, or what becomes it.
fn is_written(path: &Path, written: Option<&Path>) -> bool {
    let (Some(written), Some(path)) = (written, absolute(path)) else { return false };
    let names = [&path, written].map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    let [Some(name), Some(written_name)] = names else { return false };
    path.parent() == written.parent() && name.starts_with(&written_name)
}

/// With links resolved, also of a file that is not there.
fn absolute(path: &Path) -> Option<PathBuf> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(fs::canonicalize(parent).ok()?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_stands_beside_is_watched_and_what_is_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for name in ["hero.csv", "hero.toml", "hero.test.json", "out.xml", "out.xml.7.tmp", ".hidden", "log"] {
            fs::write(file(name), "").unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), file("loop")).unwrap();
        let names = |paths: &[PathBuf]| -> Vec<String> {
            let stamps = stamps(paths, Some(&file("out.xml"))).into_iter();
            stamps.map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(&[file("hero.csv")]), ["hero.csv", "hero.test.json", "hero.toml"]);
        assert_eq!(names(&[folder.path().to_owned()]), ["hero.csv", "hero.test.json", "hero.toml"]);
    }
}
