//! Error enums of pallets: a list of names, in index order, and the pallet's index.

macro_rules! pallet_errors {
    ($pallet:expr; $($name:ident),* $(,)?) => {
        /// Errors of this pallet, in the order of their indices.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, parity_scale_codec::Encode, parity_scale_codec::Decode, scale_info::TypeInfo)]
        #[allow(missing_docs)]
        pub enum Error { $($name),* }

        impl From<Error> for $crate::runtime::primitives::DispatchError {
            fn from(error: Error) -> Self {
                Self::Module($crate::runtime::primitives::ModuleError {
                    index: $pallet,
                    error: [error as u8, 0, 0, 0],
                })
            }
        }
    };
}
