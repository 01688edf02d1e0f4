//! Wants to know the time: a world with an import.

#[cfg(target_arch = "wasm32")]
mod component {
    #![expect(unsafe_code, reason = "generated code")]

    wit_bindgen::generate!({
        path: "../../wit/decision.wit",
        inline: "
            package selvedge:hostile;
            world wants-import {
                import clock: interface { now: func() -> u64; }
                export selvedge:decision/module@1.0.0;
            }
        ",
        world: "selvedge:hostile/wants-import",
    });

    struct Exported;

    impl exports::selvedge::decision::module::Guest for Exported {
        fn evaluate(_shared: Vec<f64>, candidates: Vec<f64>, _count: u32) -> Result<Vec<f64>, String> {
            // The SDK's allocator, as in any other guest.
            let _ = selvedge_hostile::provoked;
            Ok(vec![clock::now() as f64; candidates.len()])
        }
    }

    export!(Exported);
}
