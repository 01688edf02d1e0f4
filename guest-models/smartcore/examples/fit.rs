//! Writes the forest that the module carries: `cargo run -p selvedge-smartcore-guest --example fit`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let forest = postcard::to_allocvec(&selvedge_smartcore_guest::fit::forest()?)?;
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/forest.postcard"), &forest)?;
    println!("{} bytes", forest.len());
    Ok(())
}
