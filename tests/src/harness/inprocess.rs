//! A node inside this process, with all its flows and listeners: for what can only be seen from within, such as whether a
//! release is freed, or what a decision costs without HTTP.

use std::fs;

use anyhow::Result;
use selvedge_node::config::Layers;
use selvedge_node::node::Node;

use super::NodeSpec;

/// Starts it with the configuration that the process would get. To be ended with [`Node::stop`].
pub async fn start(spec: &NodeSpec) -> Result<Node> {
    fs::create_dir_all(&spec.folder)?;
    let file = spec.write_config()?;
    let mut layers = Layers::new()?.file(&file)?;
    for setting in &spec.settings {
        layers = layers.flag(setting)?;
    }
    Ok(Node::start(layers.finish()?).await?)
}
