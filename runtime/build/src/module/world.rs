//! The world a module must be of: `decision-module` of `wit/decision.wit`. Owns the comparison of a component's exports
//! with it.

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentFuncType, ComponentInstanceType, ComponentValType,
};
use wasmparser::types::Types;

use super::BadModule;

/// The interface a module exports.
pub(crate) const INTERFACE: &str = "selvedge:decision/module@1.0.0";
/// Its one function.
const FUNCTION: &str = "evaluate";
const SIGNATURE: &str = "func(shared: list<f64>, candidates: list<f64>, count: u32) -> result<list<f64>, string>";

/// Whether the component exports the interface with its function as it is in the contract.
pub(super) fn check(types: &Types) -> Result<(), BadModule> {
    let wrong = |why: String| Err(BadModule::World(why));
    let Some(ComponentEntityType::Instance(instance)) = types.component_item_for_export(INTERFACE).map(|item| item.ty)
    else {
        return wrong(format!("it does not export the interface `{INTERFACE}`"));
    };
    let instance: &ComponentInstanceType = &types[instance];
    let Some(ComponentEntityType::Func(function)) = instance.exports.get(FUNCTION).map(|item| item.ty) else {
        return wrong(format!("its `{INTERFACE}` has no function `{FUNCTION}`"));
    };
    if !is_evaluate(types, &types[function]) {
        return wrong(format!("its `{FUNCTION}` is not `{SIGNATURE}`"));
    }
    Ok(())
}

fn is_evaluate(types: &Types, function: &ComponentFuncType) -> bool {
    let [shared, candidates, count] = &*function.params else { return false };
    !function.async_
        && shared.0.as_str() == "shared"
        && candidates.0.as_str() == "candidates"
        && count.0.as_str() == "count"
        && is_numbers(types, shared.1)
        && is_numbers(types, candidates.1)
        && is(count.1, PrimitiveValType::U32)
        && function.result.is_some_and(|result| match defined(types, result) {
            Some(ComponentDefinedType::Result { ok: Some(ok), err: Some(err), .. }) => {
                is_numbers(types, *ok) && is_primitive(types, *err, PrimitiveValType::String)
            }
            _ => false,
        })
}

fn is_numbers(types: &Types, ty: ComponentValType) -> bool {
    matches!(defined(types, ty), Some(ComponentDefinedType::List { element, .. })
        if is_primitive(types, *element, PrimitiveValType::F64))
}

fn is_primitive(types: &Types, ty: ComponentValType, primitive: PrimitiveValType) -> bool {
    is(ty, primitive) || matches!(defined(types, ty), Some(ComponentDefinedType::Primitive(p)) if *p == primitive)
}

fn is(ty: ComponentValType, primitive: PrimitiveValType) -> bool {
    matches!(ty, ComponentValType::Primitive(p) if p == primitive)
}

fn defined(types: &Types, ty: ComponentValType) -> Option<&ComponentDefinedType> {
    match ty {
        ComponentValType::Type(id) => Some(&types[id]),
        ComponentValType::Primitive(_) => None,
    }
}
