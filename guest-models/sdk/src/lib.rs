//! The guest SDK: with it a module in Rust is one function and its manifest.
//!
//! ```
//! use selvedge_guest::Call;
//!
//! // In a crate of its own, this line makes the module; `manifest.json` stands beside Cargo.toml:
//! // selvedge_guest::module!("manifest.json", evaluate);
//!
//! /// One output, `score`: the candidate's only column plus the request's only column.
//! fn evaluate(call: Call<'_>) -> Result<Vec<f64>, String> {
//!     Ok(call.rows().map(|row| row[0] + call.shared()[0]).collect())
//! }
//!
//! assert_eq!(evaluate(Call::new(&[1.0], &[2.0, 3.0], 2)), Ok(vec![3.0, 4.0]));
//! ```
//!
//! Natively, a module is a plain function that plain tests call. For `wasm32-unknown-unknown` the macro exports it as the
//! world of `wit/decision.wit`, puts the manifest into the custom section `selvedge:manifest`, and this crate brings the
//! allocator: a fixed arena that never grows ([`memory`] says how it is sized). The crate of a module needs
//! `crate-type = ["cdylib", "rlib"]` and a build script that calls for a small stack:
//!
//! ```no_run
//! // build.rs
//! if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32") {
//!     println!("cargo::rustc-link-arg-cdylib=-zstack-size=32768");
//! }
//! ```
//!
//! `cargo build --profile guest --target wasm32-unknown-unknown` then gives a file that goes into a release's `modules/`
//! as it is: packing seals it.
//!
//! For the same answer everywhere, use the `libm` crate for `exp`, `ln`, `pow` and their kin, not the methods of `f64`.

mod call;
pub mod memory;

pub use call::Call;

/// What [`module!`](crate::module) exports through; generated from `wit/decision.wit`.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/decision.wit",
        world: "decision-module",
        pub_export_macro: true,
        default_bindings_module: "selvedge_guest::bindings",
    });
}

/// Makes the crate a module: `module!("manifest.json", evaluate)`, the path seen from the crate's Cargo.toml.
///
/// `evaluate` is a `fn(Call<'_>) -> Result<Vec<f64>, String>`: row-major, `count` rows of the manifest's outputs, or a
/// text that says why not. The macro also gives the crate `MANIFEST`, the manifest's text, for its tests.
#[macro_export]
macro_rules! module {
    ($manifest:literal, $evaluate:path) => {
        /// The module's manifest, as JSON.
        pub const MANIFEST: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest));

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "selvedge:manifest")]
            static SECTION: [u8; MANIFEST.len()] = *include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest));

            $crate::export!($evaluate);
        };
    };
}

/// The export alone, for kernels whose manifest the builder writes.
#[macro_export]
macro_rules! export {
    ($evaluate:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Exported;

            impl $crate::bindings::exports::selvedge::decision::module::Guest for Exported {
                fn evaluate(shared: Vec<f64>, candidates: Vec<f64>, count: u32) -> Result<Vec<f64>, String> {
                    $evaluate($crate::Call::new(&shared, &candidates, count as usize))
                }
            }

    $crate::bindings::export!(Exported with_types_in $crate::bindings);
        };
    };
}
