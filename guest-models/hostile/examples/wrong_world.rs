//! A component of another world: it exports a function, and not ours.

#[cfg(target_arch = "wasm32")]
mod component {
    #![expect(unsafe_code, reason = "generated code")]

    wit_bindgen::generate!({
        inline: "
            package selvedge:hostile;
            world wrong-world {
                export evaluate: func(shared: f64) -> f64;
            }
        ",
    });

    struct Exported;

    impl Guest for Exported {
        fn evaluate(shared: f64) -> f64 {
            shared
        }
    }

    export!(Exported);
}
