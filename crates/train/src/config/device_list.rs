//! `train.device`: one device, or several that are a rank each.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeviceName;
use crate::error::TrainError;

const KEY: &str = "train.device";

/// The value of `train.device`: a device by its backend's name, or a list of them.
///
/// ```
/// use evenburn_train::config::{DeviceId, DeviceList, DeviceName};
/// let two: DeviceList = toml::from_str::<toml::Table>("d = ['cuda:0', 'cuda:1']")?["d"].clone().try_into()?;
/// let second = DeviceId { backend: DeviceName::Cuda, index: 1 };
/// assert_eq!(two.entries()?[1], second);
/// assert!(DeviceList::from("gpu").entries().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DeviceList {
    /// A device.
    One(String),
    /// A device for each rank of this process.
    Several(Vec<String>),
}

/// A device of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceId {
    /// Its backend.
    pub backend: DeviceName,
    /// Its number among those of the backend.
    pub index: usize,
}

impl Default for DeviceList {
    fn default() -> Self {
        DeviceName::default().into()
    }
}

impl From<&str> for DeviceList {
    fn from(device: &str) -> Self {
        Self::One(device.to_owned())
    }
}

impl From<DeviceName> for DeviceList {
    fn from(backend: DeviceName) -> Self {
        backend.name().into()
    }
}

impl fmt::Display for DeviceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(device) => f.write_str(device),
            Self::Several(devices) => f.write_str(&devices.join(", ")),
        }
    }
}

impl DeviceList {
    /// The devices, at least one, all of one backend.
    ///
    /// # Errors
    /// [`TrainError::Invalid`] for a name that no backend has, for none, and for several backends.
    pub fn entries(&self) -> Result<Vec<DeviceId>, TrainError> {
        let names = match self {
            Self::One(device) => std::slice::from_ref(device),
            Self::Several(devices) => devices,
        };
        let all: Vec<DeviceId> = names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()?;
        let Some(first) = all.first() else {
            return Err(TrainError::invalid(KEY, "the list is empty"));
        };
        match all.iter().find(|device| device.backend != first.backend) {
            None => Ok(all),
            Some(other) => {
                let (a, b) = (first.backend.name(), other.backend.name());
                let why = format!("the devices of a run have one backend, not {a} and {b}");
                Err(TrainError::invalid(KEY, why))
            }
        }
    }

    /// The backend.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn backend(&self) -> Result<DeviceName, TrainError> {
        Ok(self.of_rank(0)?.backend)
    }

    /// The device of a rank of this machine. Of a single one without a number it is the one with the rank's, where the backend has
    /// several.
    ///
    /// # Errors
    /// As [`entries`](Self::entries), and where the list has fewer.
    pub fn of_rank(&self, local: usize) -> Result<DeviceId, TrainError> {
        let all = self.entries()?;
        if let (Self::One(name), [device]) = (self, all.as_slice()) {
            let counts = !name.contains(':') && device.backend.has_several();
            let index = if counts { local } else { device.index };
            return Ok(DeviceId { index, ..*device });
        }
        all.get(local).copied().ok_or_else(|| {
            let why = format!(
                "rank {local} of this machine has none: the list has {}",
                all.len()
            );
            TrainError::invalid(KEY, why)
        })
    }
}

impl DeviceName {
    /// Whether a machine may have several devices of this backend.
    fn has_several(self) -> bool {
        !matches!(self, Self::Flex | Self::Cpu)
    }
}

impl FromStr for DeviceId {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index)),
            None => (text, None),
        };
        let Some(backend) = DeviceName::ALL.iter().find(|known| known.name() == name) else {
            let names: Vec<String> = DeviceName::ALL
                .iter()
                .map(|known| format!("\"{}\"", known.name()))
                .collect();
            let like = |known: &&DeviceName| strsim::jaro_winkler(known.name(), name);
            let nearest = DeviceName::ALL
                .iter()
                .max_by(|a, b| like(a).total_cmp(&like(b)))
                .filter(|known| like(known) > 0.6)
                .map(|known| format!("; did you mean \"{}\"?", known.name()))
                .unwrap_or_default();
            let why = format!(
                "must be {}, or one of several by its number (\"cuda:1\"), or a list of those, not \"{text}\"{nearest}",
                names.join(" | ")
            );
            return Err(TrainError::invalid(KEY, why));
        };
        let index = match index.map(str::parse) {
            None => 0,
            Some(Ok(index)) => index,
            Some(Err(_)) => {
                let why = format!("\"{text}\" has no number behind its colon");
                return Err(TrainError::invalid(KEY, why));
            }
        };
        Ok(Self {
            backend: *backend,
            index,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_has_its_own_device_where_there_are_several() {
        let several = |names: &[&str]| {
            DeviceList::Several(names.iter().map(|name| (*name).to_owned()).collect())
        };
        let of = |list: &DeviceList, rank| list.of_rank(rank).map(|device| device.index).ok();
        assert_eq!(of(&"cuda".into(), 3), Some(3));
        assert_eq!(of(&"cuda:1".into(), 3), Some(1));
        assert_eq!(of(&"flex".into(), 3), Some(0));
        let list = several(&["cuda:2", "cuda:5"]);
        assert_eq!(
            [of(&list, 0), of(&list, 1), of(&list, 2)],
            [Some(2), Some(5), None]
        );
        assert!(several(&[]).entries().is_err());
        assert!(several(&["cuda:0", "flex"]).entries().is_err());
        assert!(DeviceList::from("cuda:x").entries().is_err());
        let error = DeviceList::from("flux").entries().unwrap_err().to_string();
        assert!(error.contains("did you mean \"flex\"?"), "{error}");
    }
}
