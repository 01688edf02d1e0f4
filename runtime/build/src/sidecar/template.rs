//! The sidecar a model has when nothing is changed, with what may be changed in comments. Owns its wording.

use selvedge_decision::manifest::{Kind, Missing, Scalar, Scope};

use crate::pipeline::{Pipeline, PipelineInput};

/// The texts of a symbol that are shown.
const SHOWN: usize = 8;

/// A sidecar for `model`, to be saved as `file` and edited.
pub fn template(model: &str, file: &str, pipeline: &Pipeline) -> String {
    let made_by = pipeline.made_by.as_deref().unwrap_or(&pipeline.kind);
    let outputs = match (pipeline.outputs.margin.len(), pipeline.outputs.probability.len()) {
        (_, 0) => "\"margin\" is all this model has",
        (0, _) => "\"probability\" is all this model has",
        _ => "or \"margin\"",
    };
    let output = if pipeline.outputs.probability.is_empty() { "margin" } else { "probability" };
    let mut text = format!(
        "# Sidecar of {model} ({made_by}): what the trainer did not know. It stands beside the model as {file}.\n\
         # Whatever is not said stays as the comments say.\n\n\
         # output = \"{output}\"  # {outputs}\n\
         # rows = 1024  # the most candidates of one call; the module's memory is sized for them\n\
         # browser = true  # browsers may have it\n\n\
         # The model's inputs in its order, by the trainer's name.\n\
         #   name     what a placement calls it: `user.age` is feature `age` of view `user`, `context.country` comes with\n\
         #            the request, `candidate.id` is the candidate's own id\n\
         #   scope    \"shared\" stands once in a request, \"candidate\" differs between candidates; when it is not said, names\n\
         #            that begin with `item.` or `candidate.` are the candidate's\n\
         #   type     \"number\", \"flag\" or \"symbol\"; with `symbols = [\"DE\", \"FR\"]` the trainer's codes 0 and 1 are texts\n\
         #   missing  \"no-match\" (the model sees a missing value, as in training), \"error\", or {{ default = 0.0 }}\n\
         #   derive   {{ fn = \"age\", of = \"user.last_seen\" }}: what the node computes it from\n\
         [inputs]\n",
    );
    for input in &pipeline.inputs {
        text += &line(input);
        text.push('\n');
    }
    text
}

fn line(input: &PipelineInput) -> String {
    let mut line = format!("{} = {{ name = {}", key(&input.name), quoted(&input.name));
    // Left out where the name decides: it is the name that will be edited.
    if let Some(scope) = input.scope {
        line += match scope {
            Scope::Shared => ", scope = \"shared\"",
            Scope::Candidate => ", scope = \"candidate\"",
        };
    }
    if let Missing::Default { default } = &input.missing {
        let default = match default {
            Scalar::Flag(flag) => flag.to_string(),
            Scalar::Number(number) => format!("{number:?}"),
            Scalar::Text(text) => quoted(text),
        };
        line += &format!(", missing = {{ default = {default} }}");
    } else if input.missing.is_error() {
        line += ", missing = \"error\"";
    }
    line += &format!(" }}  # {}", input.kind);
    match input.kind {
        Kind::Symbol => {
            let shown: Vec<_> = input.symbols.iter().take(SHOWN).map(|symbol| quoted(symbol)).collect();
            let more = if input.symbols.len() > SHOWN { ", …" } else { "" };
            line += &format!(" of {}: {}{more}", input.symbols.len(), shown.join(", "));
        }
        Kind::Vector => line += &format!(" of {}", input.width()),
        Kind::Number | Kind::Flag => {}
    }
    line
}

fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { name.to_owned() } else { quoted(name) }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => quoted += &format!("\\u{:04X}", u32::from(char)),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
