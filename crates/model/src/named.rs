//! Parts of a plan that a program may bring along: recorded by name and options, carried out by an object.

use schemars::JsonSchema;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Options by name, as a plan records them.
pub type Options = toml::Table;

/// A type that plans record by name and options: a struct with named fields, its options, whose documentation says what
/// they mean.
pub trait Recorded:
    Serialize + de::DeserializeOwned + JsonSchema + fmt::Debug + Send + Sync + 'static
{
    /// Its name in plans and configurations.
    const NAME: &'static str;
    /// One sentence for lists.
    const ABOUT: &'static str;
}

/// The options of a value; empty where it isn't a struct with named fields, which registering it refuses.
pub(crate) fn options_of<R: Recorded>(value: &R) -> Options {
    Options::try_from(value).unwrap_or_default()
}

/// The value of these options; in words on one line, why there is none.
pub(crate) fn from_options<T: de::DeserializeOwned>(options: Options) -> Result<T, String> {
    T::deserialize(toml::Value::Table(options))
        .map_err(|error| error.to_string().trim().replace('\n', " "))
}

/// An object by its name and options: two are equal where these are.
///
/// In a file it is its name, or a table of one entry where it has options: `"rms"`, `{ tanh = { slope = 0.5 } }`.
pub struct Named<T: ?Sized> {
    name: String,
    options: Options,
    made: Arc<T>,
}

impl<T: ?Sized> Named<T> {
    pub(crate) fn new(name: String, options: Options, made: Arc<T>) -> Self {
        Self {
            name,
            options,
            made,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether it is one of this name.
    pub fn is<R: Recorded>(&self) -> bool {
        self.name == R::NAME
    }
}

impl<T: ?Sized> std::ops::Deref for Named<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.made
    }
}

impl<T: ?Sized> Clone for Named<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            options: self.options.clone(),
            made: Arc::clone(&self.made),
        }
    }
}

impl<T: ?Sized> PartialEq for Named<T> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.options == other.options
    }
}

// What carries it out follows from name and options.
#[allow(clippy::missing_fields_in_debug)]
impl<T: ?Sized> fmt::Debug for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(&self.name);
        for (name, value) in &self.options {
            shown.field(name, &format_args!("{value}"));
        }
        shown.finish()
    }
}

impl<T: ?Sized> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.options.is_empty() {
            return serializer.serialize_str(&self.name);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&self.name, &self.options)?;
        map.end()
    }
}

/// What stands in for an object that has been read and is not known yet: [`crate::Kinds::resolve`] replaces it.
pub(crate) trait Unknown {
    /// An object that does nothing and that validation refuses.
    fn unknown(name: &str) -> Arc<Self>;
}

impl<'de, T: ?Sized + Unknown> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<T: ?Sized>(PhantomData<fn() -> Box<T>>);
        impl<'de, T: ?Sized + Unknown> Visitor<'de> for Read<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or a table that has one name with its options")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Named<T>, E> {
                Ok(Named::new(
                    name.to_owned(),
                    Options::new(),
                    T::unknown(name),
                ))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let one = || de::Error::custom("a table that has one name with its options");
                let (name, options): (String, Options) = map.next_entry()?.ok_or_else(one)?;
                if map.next_key::<String>()?.is_some() {
                    return Err(one());
                }
                let made = T::unknown(&name);
                Ok(Named::new(name, options, made))
            }
        }
        deserializer.deserialize_any(Read(PhantomData))
    }
}
