//! What became of an extrinsic: read from the events of its block.

use subxt::events::Phase;
use subxt::ext::scale_value::{At, Composite, Value, ValueDef};

use super::runtime::Runtime;
use crate::{Error, Result};

/// What an extrinsic did.
#[derive(Debug)]
pub struct Outcome {
    /// Whether the call was carried out; the dispatch error if not.
    pub result: Result<()>,
    /// For a forced batch, the same for each call in it.
    pub items: Vec<Result<()>>,
}

impl Outcome {
    /// Reads the outcome of extrinsic `index` from the `System.Events` of its block.
    pub fn read(runtime: &Runtime, events: Vec<u8>, index: u32) -> Result<Self> {
        let mut result = None;
        let mut items = Vec::new();
        for event in runtime.events(events).iter() {
            let event =
                event.map_err(|error| Error::UnsupportedRuntime(format!("System.Events: {error}")))?;
            if event.phase() != Phase::ApplyExtrinsic(index) {
                continue;
            }
            let error_in = |field: &str| -> Result<Error> {
                let fields: Composite<()> = event
                    .decode_fields_unchecked_as()
                    .map_err(|error| Error::UnsupportedRuntime(format!("System.Events: {error}")))?;
                Ok(dispatch_error(runtime, fields.at(field)))
            };
            match (event.pallet_name(), event.event_name()) {
                ("System", "ExtrinsicSuccess") => result = Some(Ok(())),
                ("System", "ExtrinsicFailed") => result = Some(Err(error_in("dispatch_error")?)),
                ("Utility", "ItemCompleted") => items.push(Ok(())),
                ("Utility", "ItemFailed") => items.push(Err(error_in("error")?)),
                _ => {}
            }
        }
        let result =
            result.ok_or_else(|| Error::Corrupt("a block without the verdict on an extrinsic".to_owned()))?;
        Ok(Self { result, items })
    }
}

/// Names a dispatch error: that of a pallet by the metadata, any other by its own variants.
fn dispatch_error(runtime: &Runtime, value: Option<&Value<()>>) -> Error {
    let refused = |pallet: &str, name: &str| Error::Dispatch {
        pallet: pallet.to_owned(),
        name: name.to_owned(),
    };
    let Some(ValueDef::Variant(variant)) = value.map(|value| &value.value) else {
        return refused("DispatchError", "unknown");
    };
    if variant.name == "Module" {
        return module_error(runtime, &variant.values).unwrap_or_else(|| refused("Module", "unknown"));
    }
    match variant.values.values().next().map(|inner| &inner.value) {
        Some(ValueDef::Variant(inner)) => refused(&variant.name, &inner.name),
        _ => refused("DispatchError", &variant.name),
    }
}

/// `ModuleError { index, error: [u8; 4] }`: the pallet's index and, in the first byte, its error's.
fn module_error(runtime: &Runtime, fields: &Composite<()>) -> Option<Error> {
    let module = if fields.at("index").is_some() {
        fields
    } else {
        composite(fields.values().next()?)?
    };
    let index = u8::try_from(module.at("index")?.as_u128()?).ok()?;
    let error = composite(module.at("error")?)?.values().next()?.as_u128()?;
    let pallet = runtime.metadata().pallet_by_error_index(index)?;
    let variant = pallet.error_variant_by_index(u8::try_from(error).ok()?)?;
    Some(Error::Dispatch {
        pallet: pallet.name().to_owned(),
        name: variant.name.clone(),
    })
}

fn composite(value: &Value<()>) -> Option<&Composite<()>> {
    match &value.value {
        ValueDef::Composite(composite) => Some(composite),
        _ => None,
    }
}
