//! Our metadata against the network's own, where `CESS_METADATA_DIR` names a folder with
//! `cess-metadata-v137.scale`: every call, storage item, event, error, constant and signed
//! extension that we offer has the same index, names and shape there.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::collections::BTreeSet;

use cess_devnet::runtime::metadata;
use frame_metadata::v14::StorageEntryType;
use frame_metadata::v15::{PalletMetadata, RuntimeMetadataV15};
use frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed};
use parity_scale_codec::Decode;
use scale_info::form::PortableForm;
use scale_info::{Field, PortableRegistry, TypeDef, Variant};

/// Types whose variants are pallets: only the offered ones are compared.
const OUTER: [&str; 3] = ["RuntimeCall", "RuntimeEvent", "RuntimeError"];

struct Compare<'m> {
    ours: &'m PortableRegistry,
    theirs: &'m PortableRegistry,
    seen: BTreeSet<(u32, u32)>,
    differences: Vec<String>,
}

fn fields_of(definition: &TypeDef<PortableForm>) -> Option<&[Field<PortableForm>]> {
    match definition {
        TypeDef::Composite(composite) => Some(&composite.fields),
        _ => None,
    }
}

/// Steps through wrappers of one field, which are nothing on the wire.
fn unwrapped(registry: &PortableRegistry, mut id: u32) -> u32 {
    while let Some([field]) = registry.resolve(id).and_then(|ty| fields_of(&ty.type_def)) {
        id = field.ty.id;
    }
    id
}

impl Compare<'_> {
    fn types(&mut self, path: &str, ours: u32, theirs: u32) {
        let (ours, theirs) = (unwrapped(self.ours, ours), unwrapped(self.theirs, theirs));
        if !self.seen.insert((ours, theirs)) {
            return;
        }
        let (Some(a), Some(b)) = (self.ours.resolve(ours), self.theirs.resolve(theirs)) else {
            self.differences.push(format!("{path}: unresolved"));
            return;
        };
        let outer = a
            .path
            .segments
            .last()
            .is_some_and(|name| OUTER.contains(&name.as_str()));
        match (&a.type_def, &b.type_def) {
            (TypeDef::Primitive(a), TypeDef::Primitive(b)) if a == b => {}
            (TypeDef::Compact(a), TypeDef::Compact(b)) => self.types(path, a.type_param.id, b.type_param.id),
            (TypeDef::Sequence(a), TypeDef::Sequence(b)) => {
                self.types(path, a.type_param.id, b.type_param.id);
            }
            (TypeDef::Array(a), TypeDef::Array(b)) if a.len == b.len => {
                self.types(path, a.type_param.id, b.type_param.id);
            }
            (TypeDef::Tuple(a), TypeDef::Tuple(b)) if a.fields.len() == b.fields.len() => {
                for (a, b) in a.fields.iter().zip(&b.fields) {
                    self.types(path, a.id, b.id);
                }
            }
            (TypeDef::Composite(a), TypeDef::Composite(b)) => self.fields(path, &a.fields, &b.fields),
            (TypeDef::Variant(a), TypeDef::Variant(b)) => {
                if !outer && a.variants.len() > b.variants.len() {
                    self.differences
                        .push(format!("{path}: more variants than the network"));
                }
                self.variants(path, &a.variants, &b.variants);
            }
            (a, b) => self.differences.push(format!("{path}: {a:?} is not {b:?}")),
        }
    }

    fn fields(&mut self, path: &str, ours: &[Field<PortableForm>], theirs: &[Field<PortableForm>]) {
        let names = |fields: &[Field<PortableForm>]| -> Vec<_> {
            fields.iter().map(|field| field.name.clone()).collect()
        };
        if names(ours) != names(theirs) {
            self.differences.push(format!(
                "{path}: fields {:?} are not {:?}",
                names(ours),
                names(theirs)
            ));
            return;
        }
        for (a, b) in ours.iter().zip(theirs) {
            let name = a.name.as_deref().unwrap_or("_");
            self.types(&format!("{path}.{name}"), a.ty.id, b.ty.id);
        }
    }

    fn variants(&mut self, path: &str, ours: &[Variant<PortableForm>], theirs: &[Variant<PortableForm>]) {
        for variant in ours {
            let path = format!("{path}::{}", variant.name);
            match theirs.iter().find(|other| other.name == variant.name) {
                Some(other) if other.index == variant.index => {
                    self.fields(&path, &variant.fields, &other.fields);
                }
                Some(other) => {
                    self.differences
                        .push(format!("{path}: index {} is not {}", variant.index, other.index));
                }
                None => self.differences.push(format!("{path}: unknown to the network")),
            }
        }
    }

    fn optional(&mut self, path: &str, ours: Option<u32>, theirs: Option<u32>) {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => self.types(path, ours, theirs),
            (Some(_), None) => self.differences.push(format!("{path}: the network has none")),
            (None, _) => {}
        }
    }

    fn pallet(&mut self, ours: &PalletMetadata<PortableForm>, theirs: &PalletMetadata<PortableForm>) {
        let name = &ours.name;
        if ours.index != theirs.index {
            self.differences
                .push(format!("{name}: index {} is not {}", ours.index, theirs.index));
        }
        let id = |ty: &scale_info::interner::UntrackedSymbol<std::any::TypeId>| ty.id;
        self.optional(
            &format!("{name} call"),
            ours.calls.as_ref().map(|calls| id(&calls.ty)),
            theirs.calls.as_ref().map(|calls| id(&calls.ty)),
        );
        self.optional(
            &format!("{name} event"),
            ours.event.as_ref().map(|event| id(&event.ty)),
            theirs.event.as_ref().map(|event| id(&event.ty)),
        );
        self.optional(
            &format!("{name} error"),
            ours.error.as_ref().map(|error| id(&error.ty)),
            theirs.error.as_ref().map(|error| id(&error.ty)),
        );
        for constant in &ours.constants {
            let path = format!("{name} constant {}", constant.name);
            match theirs.constants.iter().find(|other| other.name == constant.name) {
                Some(other) => {
                    self.types(&path, constant.ty.id, other.ty.id);
                    let differs = constant.value != other.value;
                    // The version lists the runtime APIs, of which this chain has fewer; the
                    // limits of blocks are approximations.
                    if differs
                        && !["Version", "BlockWeights", "BlockLength"].contains(&constant.name.as_str())
                    {
                        self.differences.push(format!("{path}: another value"));
                    }
                }
                None => self.differences.push(format!("{path}: unknown to the network")),
            }
        }
        let entries = |pallet: &PalletMetadata<PortableForm>| {
            pallet
                .storage
                .as_ref()
                .map(|storage| storage.entries.clone())
                .unwrap_or_default()
        };
        let known = entries(theirs);
        for entry in entries(ours) {
            let path = format!("{name} storage {}", entry.name);
            let Some(other) = known.iter().find(|other| other.name == entry.name) else {
                self.differences.push(format!("{path}: unknown to the network"));
                continue;
            };
            if entry.modifier != other.modifier {
                self.differences.push(format!("{path}: another modifier"));
            }
            match (&entry.ty, &other.ty) {
                (StorageEntryType::Plain(a), StorageEntryType::Plain(b)) => self.types(&path, a.id, b.id),
                (
                    StorageEntryType::Map {
                        hashers: ha,
                        key: ka,
                        value: va,
                    },
                    StorageEntryType::Map {
                        hashers: hb,
                        key: kb,
                        value: vb,
                    },
                ) if ha == hb => {
                    self.types(&format!("{path} key"), ka.id, kb.id);
                    self.types(&path, va.id, vb.id);
                }
                _ => self.differences.push(format!("{path}: another kind of key")),
            }
        }
    }
}

fn decoded(bytes: &[u8]) -> RuntimeMetadataV15 {
    match RuntimeMetadataPrefixed::decode(&mut &bytes[..]).unwrap().1 {
        RuntimeMetadata::V15(metadata) => metadata,
        other => panic!("version {}", other.version()),
    }
}

#[test]
fn what_is_offered_is_what_the_network_has() {
    let Ok(directory) = std::env::var("CESS_METADATA_DIR") else {
        eprintln!("SKIPPED: CESS_METADATA_DIR is not set, our metadata is not compared with the network's");
        return;
    };
    let bytes = std::fs::read(format!("{directory}/cess-metadata-v137.scale")).unwrap();
    let theirs = decoded(&bytes);
    let ours = decoded(metadata::encoded(15).unwrap());
    let mut compare = Compare {
        ours: &ours.types,
        theirs: &theirs.types,
        seen: BTreeSet::new(),
        differences: Vec::new(),
    };
    for pallet in &ours.pallets {
        match theirs.pallets.iter().find(|other| other.name == pallet.name) {
            Some(other) => compare.pallet(pallet, other),
            None => compare
                .differences
                .push(format!("{}: unknown to the network", pallet.name)),
        }
    }
    assert_eq!(ours.extrinsic.version, theirs.extrinsic.version);
    assert_eq!(
        ours.extrinsic.signed_extensions.len(),
        theirs.extrinsic.signed_extensions.len()
    );
    for (a, b) in ours
        .extrinsic
        .signed_extensions
        .iter()
        .zip(&theirs.extrinsic.signed_extensions)
    {
        assert_eq!(a.identifier, b.identifier);
        compare.types(&a.identifier, a.ty.id, b.ty.id);
        compare.types(&a.identifier, a.additional_signed.id, b.additional_signed.id);
    }
    compare.types(
        "address",
        ours.extrinsic.address_ty.id,
        theirs.extrinsic.address_ty.id,
    );
    compare.types(
        "signature",
        ours.extrinsic.signature_ty.id,
        theirs.extrinsic.signature_ty.id,
    );
    assert!(compare.differences.is_empty(), "{:#?}", compare.differences);
}

#[test]
fn no_type_keeps_a_path_of_this_crate() {
    let ours = decoded(metadata::encoded(15).unwrap());
    for entry in &ours.types.types {
        assert_ne!(
            entry.ty.path.segments.first().map(String::as_str),
            Some("cess_devnet"),
            "{:?}",
            entry.ty.path
        );
    }
    assert!(
        ours.types
            .types
            .iter()
            .any(|entry| entry.ty.path.segments == ["sp_runtime", "DispatchError"])
    );
}
