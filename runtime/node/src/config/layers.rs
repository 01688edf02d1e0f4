//! The layers of the settings, merged. Owns the errors: each names the key, where it came from, and the nearest known key.

use std::path::Path;

use selvedge_build::definitions::in_words;
use toml::{Table, Value};

use super::{Config, DEFAULT};

/// Settings on their way to a [`Config`]: start with the default file, add layers, the strongest last.
#[derive(Debug, Clone)]
pub struct Layers {
    known: Table,
    merged: Table,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// The file cannot be read.
    #[error("cannot read {path}: {why}; every setting has a default, so a file with those you change is enough")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{source_name} is not TOML: {why}")]
    Syntax {
        /// The file or flag.
        source_name: String,
        /// Where and what.
        why: String,
    },
    /// A key that is not in the default file.
    #[error("{source_name}: there is no setting `{key}`{}", near.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// The file, variable or flag.
        source_name: String,
        /// The key as written.
        key: String,
        /// The most similar known key.
        near: Option<String>,
    },
    /// A value of the wrong type or out of bounds.
    #[error("setting `{key}`: {why}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong and what is expected.
        why: String,
    },
}

// === impl BadConfig ===

impl BadConfig {
    pub(super) fn value(key: &str, why: impl Into<String>) -> Self {
        Self::Value { key: key.to_owned(), why: why.into() }
    }
}

// === impl Layers ===

impl Layers {
    /// The default file alone.
    pub fn new() -> Result<Self, BadConfig> {
        let known: Table = DEFAULT.parse().map_err(|why: toml::de::Error| syntax("default.toml", &why))?;
        Ok(Self { merged: known.clone(), known })
    }

    /// A file over what is there.
    pub fn file(mut self, path: &Path) -> Result<Self, BadConfig> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|why| BadConfig::Read { path: name.clone(), why })?;
        let table: Table = text.parse().map_err(|why: toml::de::Error| syntax(&name, &why))?;
        let known = self.known.clone();
        merge(&mut self.merged, table, &known, &name, "")?;
        Ok(self)
    }

    /// The environment over what is there: `SELVEDGE_SECTION_KEY`.
    pub fn environment(mut self, variables: impl Iterator<Item = (String, String)>) -> Result<Self, BadConfig> {
        let keys = leaves(&self.known, "");
        for (name, text) in variables {
            let key = keys.iter().find(|key| name == variable(key));
            match key {
                Some(key) => self = self.set(&name, key, &text)?,
                None if self.names_a_section(&name) => {
                    let near = nearest(&name, keys.iter().map(|key| variable(key)));
                    return Err(BadConfig::UnknownKey { source_name: "environment".to_owned(), key: name, near });
                }
                None => {}
            }
        }
        Ok(self)
    }

    /// Whether a variable looks like a setting: others that begin with our name belong to the command line.
    fn names_a_section(&self, name: &str) -> bool {
        self.known.keys().any(|section| name.starts_with(&format!("{}_", variable(section))))
    }

    /// `section.key=value` over what is there.
    pub fn flag(self, setting: &str) -> Result<Self, BadConfig> {
        match setting.split_once('=') {
            Some((key, text)) => self.set("--set", key.trim(), text.trim()),
            None => Err(BadConfig::value(setting, "expected section.key=value")),
        }
    }

    /// One value, read as the type that the default has.
    fn set(mut self, source_name: &str, key: &str, text: &str) -> Result<Self, BadConfig> {
        let unknown = || BadConfig::UnknownKey {
            source_name: source_name.to_owned(),
            key: key.to_owned(),
            near: nearest(key, leaves(&self.known, "").into_iter()),
        };
        let (sections, leaf) = match key.rsplit_once('.') {
            Some((sections, leaf)) => (sections.split('.').collect::<Vec<_>>(), leaf),
            None => (vec![], key),
        };
        let mut table = &mut self.merged;
        for section in sections {
            table = match table.get_mut(section) {
                Some(Value::Table(inner)) => inner,
                _ => return Err(unknown()),
            };
        }
        let bad = |why: &str| BadConfig::value(key, format!("{text:?} from {source_name} {why}"));
        let value = match table.get(leaf) {
            Some(Value::Table(_)) if is_open(&self.known, key) => {
                let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
                let pairs = pairs.map(|pair| pair.split_once('=').ok_or_else(|| bad("is not of the form a=b,c=d")));
                let pairs = pairs.map(|pair| pair.map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned().into())));
                Value::Table(pairs.collect::<Result<Table, _>>()?)
            }
            None | Some(Value::Table(_)) => return Err(unknown()),
            Some(Value::Integer(_)) => Value::Integer(text.parse().map_err(|_| bad("is not a whole number"))?),
            Some(Value::Float(_)) => Value::Float(text.parse().map_err(|_| bad("is not a number"))?),
            Some(Value::Boolean(_)) => Value::Boolean(text.parse().map_err(|_| bad("is neither true nor false"))?),
            Some(Value::Array(_)) if text.starts_with('[') => {
                return Err(bad(
                    "is a list as a file has it: here it has commas alone, no brackets and no quotes: one,two",
                ));
            }
            Some(Value::Array(_)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            Some(Value::String(_) | Value::Datetime(_)) => Value::String(text.to_owned()),
        };
        table.insert(leaf.to_owned(), value);
        Ok(self)
    }

    /// The settings, checked.
    pub fn finish(self) -> Result<Config, BadConfig> {
        let value = Value::Table(self.merged);
        let config: Config = serde_path_to_error::deserialize(value).map_err(|error| {
            let key = error.path().to_string();
            let error = error.into_inner();
            BadConfig::Value { key, why: in_words(error.message()).unwrap_or_else(|| error.message().to_owned()) }
        })?;
        config.check()?;
        Ok(config)
    }
}

fn syntax(name: &str, why: &toml::de::Error) -> BadConfig {
    BadConfig::Syntax { source_name: name.to_owned(), why: why.to_string() }
}

fn merge(into: &mut Table, from: Table, known: &Table, source_name: &str, at: &str) -> Result<(), BadConfig> {
    for (key, value) in from {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match (into.get_mut(&key), known.get(&key), value) {
            (Some(slot), Some(Value::Table(known)), Value::Table(from)) if known.is_empty() => *slot = from.into(),
            (Some(Value::Table(inner)), Some(Value::Table(known)), Value::Table(from)) => {
                merge(inner, from, known, source_name, &path)?;
            }
            (Some(Value::Table(_)), _, _) => {
                return Err(BadConfig::value(&path, format!("in {source_name}: is a section, not a value")));
            }
            (Some(slot), _, value) => *slot = value,
            (None, _, _) => {
                let siblings = known.keys().map(|key| if at.is_empty() { key.clone() } else { format!("{at}.{key}") });
                let near = nearest(&path, siblings);
                return Err(BadConfig::UnknownKey { source_name: source_name.to_owned(), key: path, near });
            }
        }
    }
    Ok(())
}

/// Whether a setting is a table whose keys are whoever writes them to choose: its default is empty.
fn is_open(known: &Table, key: &str) -> bool {
    let mut parts = key.split('.');
    let first = parts.next().and_then(|part| known.get(part));
    let found = parts.try_fold(first, |value, part| Some(value?.as_table()?.get(part)));
    found.flatten().and_then(Value::as_table).is_some_and(Table::is_empty)
}

/// The environment's name of a key.
fn variable(key: &str) -> String {
    format!("SELVEDGE_{}", key.replace('.', "_").to_uppercase())
}

/// Every key of a table and the tables in it, dotted.
fn leaves(table: &Table, at: &str) -> Vec<String> {
    let path = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    table
        .iter()
        .flat_map(|(key, value)| match value {
            Value::Table(inner) if !inner.is_empty() => leaves(inner, &path(key)),
            _ => vec![path(key)],
        })
        .collect()
}

fn nearest(key: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|known| (strsim::jaro_winkler(key, &known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use selvedge_build::channel;

    use super::*;

    fn written(text: &str) -> Result<Config, BadConfig> {
        layers(text)?.finish()
    }

    fn layers(text: &str) -> Result<Layers, BadConfig> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Layers::new()?.file(file.path())
    }

    fn check(text: &str, expected: &str) {
        let message = written(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{text:?} gave {message:?}, expected {expected:?}");
    }

    #[test]
    fn the_default_file_is_complete() {
        let config = Layers::new().unwrap().finish().unwrap();
        assert_eq!(config.node.name.as_str(), "edge-1");
        assert_eq!(config.http.max_decide_body.bytes(), 65_536);
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_was_meant() {
        check("[node]\nnmae = \"x\"", "there is no setting `node.nmae`; did you mean `node.name`?");
        check("[nodes]\nname = \"x\"", "there is no setting `nodes`; did you mean `node`?");
        check("[http]\nlisten = 7070", "setting `http.listen`");
        check(
            "[http]\nmax_batch = -1",
            "setting `http.max_batch`: found the integer `-1`, but a whole number, 0 or more was expected",
        );
        check("[node]\nname = \"Edge 1\"", "expected 1 to 32 characters");
        check("[outbox]\ngroup = \"soon\"", "\"soon\" is not a time such as 5ms");
        check("[outbox]\nsegment = \"3 parsecs\"", "is not a size such as 64KiB");
        check("node = 3", "is a section, not a value");
        check("[outbox]\nblock = \"64KiB\"", "twice outbox.max_event");
        check("[releases]\nkeep = 1", "at least 2");
        check("[node", "is not TOML");
        check("[node]\nlabels = \"eu\"", "is a section, not a value");
        check("[node]\nlabels = { region = 3 }", "setting `node.labels.region`");
        check("[node]\nlabels = { region = \"e u\" }", "setting `node.labels`: label \"e u\": expected 1 to 64");
    }

    #[test]
    fn what_others_can_reach_has_a_key_or_somebody_in_front_of_it() {
        check(
            "[http]\nlisten = \"0.0.0.0:7070\"",
            "selvedge keys create NAME --scope decide --scope events --file keys.jsonl",
        );
        check("[http]\nadmin = \"[::]:7071\"", "setting `http.admin`: others can reach [::]:7071");
        check("[http]\nadmin = \"10.0.0.1:7071\"", "--scope admin --file keys.jsonl");
        check("[http]\nopen = true\nkeys = \"keys.jsonl\"", "leave one of them out");
        check("[http.tls]\nkey = \"tls.key\"", "setting `http.tls`: has one of certificate and key");
        for text in [
            "[http]\nlisten = \"0.0.0.0:7070\"\nadmin = \"0.0.0.0:7071\"\nopen = true",
            "[http]\nlisten = \"0.0.0.0:7070\"\nadmin = \"0.0.0.0:7071\"\nkeys = \"keys.jsonl\"",
            "[http]\nlisten = \"[::ffff:127.0.0.1]:7070\"\nadmin = \"[::1]:7071\"",
            "[http.admin_tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"",
        ] {
            assert!(written(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_operator_s_key_is_where_there_is_a_channel_and_not_for_everybody() {
        let key = "[console]\noperator_key = \"ops.key\"";
        check(&format!("{key}\n[link]\nkind = \"local\""), "setting `console.operator_key`: a node on a folder");
        let open = "[http]\nadmin = \"0.0.0.0:7071\"";
        check(&format!("{key}\n{open}\nopen = true"), "setting `console.operator_key`: others can reach 0.0.0.0:7071");
        for text in [key.to_owned(), format!("{key}\n{open}\nkeys = \"keys.jsonl\"")] {
            assert!(written(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_variable_that_means_no_setting_is_named() {
        let variable = [("SELVEDGE_HTTP_LISTN".to_owned(), "x".to_owned())].into_iter();
        let message = Layers::new().unwrap().environment(variable).unwrap_err().to_string();
        assert!(message.contains("did you mean `SELVEDGE_HTTP_LISTEN`"), "{message}");
    }

    #[test]
    fn labels_are_whatever_is_written() {
        let config = written("[node]\nlabels = { region = \"eu\", zone = \"b\" }").unwrap();
        assert_eq!(channel::labels_text(&config.node.labels), "region=eu,zone=b");
        let written = || layers("[node.labels]\nregion = \"eu\"\nzone = \"b\"").unwrap();
        assert_eq!(channel::labels_text(&written().finish().unwrap().node.labels), "region=eu,zone=b");
        let config = written().flag("node.labels=region=us, disk=nvme").unwrap().finish().unwrap();
        assert_eq!(channel::labels_text(&config.node.labels), "disk=nvme,region=us", "all of them are said at once");
        let variable = [("SELVEDGE_NODE_LABELS".to_owned(), String::new())].into_iter();
        assert!(written().environment(variable).unwrap().finish().unwrap().node.labels.is_empty());
        let message = written().flag("node.labels=eu").unwrap_err().to_string();
        assert!(message.contains("not of the form a=b,c=d"), "{message}");
    }

    #[test]
    fn a_list_is_written_with_commas_where_there_is_no_file() {
        let layers = || Layers::new().unwrap();
        let config = layers().flag("http.cors_origins=https://a.example, https://b.example").unwrap().finish().unwrap();
        assert_eq!(config.http.cors_origins, ["https://a.example", "https://b.example"]);
        let message = layers().flag("http.cors_origins=[\"https://a.example\"]").unwrap_err().to_string();
        assert!(message.contains("from --set is a list as a file has it") && message.ends_with("one,two"), "{message}");
        let variable = [("SELVEDGE_HTTP_CORS_ORIGINS".to_owned(), "[]".to_owned())].into_iter();
        let message = layers().environment(variable).unwrap_err().to_string();
        assert!(message.contains("from SELVEDGE_HTTP_CORS_ORIGINS is a list as a file has it"), "{message}");
    }

    #[test]
    fn flags_are_stronger_than_environment_and_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[node]\nname = \"from-file\"\nchannel = \"from-file\"\ndata = \"from-file\"")
            .unwrap();
        let environment =
            [("SELVEDGE_NODE_NAME", "from-env"), ("SELVEDGE_NODE_CHANNEL", "from-env"), ("SELVEDGE_NATS", "x")];
        let environment = environment.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned()));
        let layers = Layers::new().unwrap().file(file.path()).unwrap().environment(environment).unwrap();
        let config = layers.flag("node.name=from-flag").unwrap().finish().unwrap();
        assert_eq!(config.node.name.as_str(), "from-flag");
        assert_eq!(config.node.channel, "from-env");
        assert_eq!(config.node.data.to_str(), Some("from-file"));
    }
}
