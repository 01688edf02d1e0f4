//! A model file with what stands beside it: read by its importer, named by its sidecar, compiled. Owns the order in which the
//! three speak: the command line over the sidecar over the file.

mod features;

use selvedge_decision::Digest;

use crate::build::BuildError;
use crate::import;
use crate::pipeline::compile::{self, Options};
use crate::pipeline::{OutputKind, Pipeline};
use crate::sidecar::Sidecar;

pub use features::Feature;

/// The most candidate rows of one call, and whether browsers may have it, when nobody says.
const ROWS: u32 = 1024;
const BROWSER: bool = true;

/// A model ready to be compiled.
#[derive(Debug, Clone)]
pub struct Model {
    /// What it computes.
    pub pipeline: Pipeline,
    /// What the module is to be.
    pub options: Options,
    file: String,
}

/// What whoever builds says over the sidecar.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// The module's name; the file's when it is not said.
    pub name: Option<String>,
    /// Which answers it gives.
    pub output: Option<OutputKind>,
    /// The most candidate rows of one call.
    pub rows: Option<u32>,
    /// Whether browsers may have it.
    pub browser: Option<bool>,
    /// The inputs in the model's order.
    pub features: Option<Vec<Feature>>,
}

// === impl Model ===

impl Model {
    /// Reads a model file; what is wrong in it is told under `file`.
    ///
    /// # Errors
    ///
    /// With the place in the model file or in the sidecar that is wrong.
    pub fn read(file: &str, bytes: &[u8], sidecar: Option<&Sidecar>, wishes: &Wishes) -> Result<Self, BuildError> {
        let features = wishes.features.as_deref();
        let names: Option<Vec<String>> = match features {
            Some(features) => Some(features.iter().map(|feature| feature.name.clone()).collect()),
            None => sidecar.and_then(Sidecar::features).map(<[String]>::to_vec),
        };
        let bad = |why| BuildError::Model { file: file.to_owned(), why };
        let mut pipeline = import::read(file, bytes, names.as_deref()).map_err(bad)?;
        if let Some(features) = features {
            features::apply(features, &mut pipeline).map_err(bad)?;
        }
        if let Some(sidecar) = sidecar {
            sidecar.apply(&mut pipeline).map_err(BuildError::Sidecar)?;
            sidecar.calibrate(&mut pipeline).map_err(BuildError::Sidecar)?;
        }
        let stem = crate::build::module_name(file).unwrap_or(file);
        let options = Options {
            name: wishes.name.clone().unwrap_or_else(|| stem.to_owned()),
            output: wishes.output.or(sidecar.and_then(Sidecar::output)),
            rows: wishes.rows.or(sidecar.and_then(Sidecar::rows)).unwrap_or(ROWS),
            browser: wishes.browser.or(sidecar.and_then(Sidecar::browser)).unwrap_or(BROWSER),
            digest: Some(Digest::of(bytes)),
        };
        Ok(Self { pipeline, options, file: file.to_owned() })
    }

    /// Compiles it.
    ///
    /// # Errors
    ///
    /// When it is larger than a module may be.
    pub fn build(&self) -> Result<Vec<u8>, BuildError> {
        let built = compile::module(&self.pipeline, &self.options);
        built.map_err(|why| BuildError::Compile { file: self.file.clone(), why })
    }
}
