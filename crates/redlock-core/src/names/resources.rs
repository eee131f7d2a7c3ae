//! The set of names that are locked together.

use std::{borrow::Cow, collections::BTreeSet, fmt, slice, sync::Arc};

use super::resource::{Named, Resource, ResourceError};

/// The names that are locked together: at least one and at most [`Resources::MAX`], each once, in order.
///
/// A name and a list of names convert to it, so that you can pass either to
/// [`Redlock::acquire`](crate::Redlock::acquire). Cheap to clone. When printed, names are quoted, escaped, and cut to a
/// readable length.
///
/// ```
/// use redlock_core::Resources;
///
/// # fn main() -> Result<(), redlock_core::ResourceError> {
/// let one = Resources::try_from("account:7")?;
/// let two = Resources::try_from(["account:7", "account:42"])?;
/// # assert_eq!((one.len(), two.len()), (1, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Resources(Names);

/// A single name, which is the usual case, costs no allocation besides its own.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Names {
    One(Resource),
    /// More than one.
    Many(Arc<[Resource]>),
}

impl Resources {
    /// The maximum number of names. A node sets all of them in one step, and serves no other client meanwhile.
    pub const MAX: usize = Resource::MAX_TOGETHER;

    /// Creates a set from names in any order. Duplicates count once.
    ///
    /// # Errors
    ///
    /// If there is no name, there are more than [`Resources::MAX`], or one of them cannot be locked.
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, ResourceError> {
        let mut names = names.into_iter();
        let first = Resource::new(names.next().ok_or(ResourceError::None)?)?;
        let mut others = BTreeSet::new();
        for name in names {
            let resource = Resource::new(name)?;
            if resource != first {
                others.insert(resource);
            }
            if others.len() >= Self::MAX {
                return Err(ResourceError::TooMany);
            }
        }
        if others.is_empty() {
            return Ok(first.into());
        }
        others.insert(first);
        Ok(Self(Names::Many(others.into_iter().collect())))
    }

    /// Converts one name or several.
    pub(crate) fn of(names: impl TryInto<Self, Error: Into<ResourceError>>) -> Result<Self, ResourceError> {
        names.try_into().map_err(Into::into)
    }

    /// Returns the keys of these names, in the same order: the names with a prefix.
    pub(crate) fn prefixed(&self, prefix: &str) -> Result<Self, ResourceError> {
        Ok(Self(match &self.0 {
            Names::One(resource) => Names::One(resource.prefixed(prefix)?),
            Names::Many(resources) => {
                Names::Many(resources.iter().map(|resource| resource.prefixed(prefix)).collect::<Result<_, _>>()?)
            }
        }))
    }

    /// Returns the fencing counters of these keys, in the same order.
    pub(crate) fn counters(&self) -> Result<Self, ResourceError> {
        Ok(Self(match &self.0 {
            Names::One(key) => Names::One(key.counter()?),
            Names::Many(keys) => Names::Many(keys.iter().map(Resource::counter).collect::<Result<_, _>>()?),
        }))
    }

    /// Returns all names, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Resource] {
        match &self.0 {
            Names::One(resource) => slice::from_ref(resource),
            Names::Many(resources) => resources,
        }
    }

    /// Iterates over the names, in order.
    pub fn iter(&self) -> slice::Iter<'_, Resource> {
        self.as_slice().iter()
    }

    /// Returns the number of names.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "they are never empty")]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Returns the first name, in order.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "they are never empty")]
    pub fn first(&self) -> &Resource {
        &self.as_slice()[0]
    }
}

impl From<Resource> for Resources {
    fn from(resource: Resource) -> Self {
        Self(Names::One(resource))
    }
}

impl From<&Resource> for Resources {
    fn from(resource: &Resource) -> Self {
        resource.clone().into()
    }
}

impl From<&Self> for Resources {
    fn from(resources: &Self) -> Self {
        resources.clone()
    }
}

/// Implements the conversion from types that are one name.
macro_rules! one_name {
    ($($name:ty),+) => {$(
        impl TryFrom<$name> for Resources {
            type Error = ResourceError;

            fn try_from(name: $name) -> Result<Self, ResourceError> {
                Resource::new(name).map(Self::from)
            }
        }
    )+};
}

one_name!(&str, &&str, String, &String, Box<str>, Arc<str>, Cow<'_, str>);

/// Implements the conversion from types that are several names.
macro_rules! several_names {
    ($($names:ty $(, $len:ident)?;)+) => {$(
        impl<S: AsRef<str> $(, const $len: usize)?> TryFrom<$names> for Resources {
            type Error = ResourceError;

            fn try_from(names: $names) -> Result<Self, ResourceError> {
                Self::new(names)
            }
        }
    )+};
}

several_names! {
    [S; N], N;
    &[S; N], N;
    &[S];
    Vec<S>;
    &Vec<S>;
    BTreeSet<S>;
    &BTreeSet<S>;
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = slice::Iter<'a, Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const READABLE: usize = 4;
        for (i, resource) in self.iter().take(READABLE).enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{}", Named(resource))?;
        }
        match self.len().saturating_sub(READABLE) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(resources: &Resources) -> Vec<&str> {
        resources.iter().map(Resource::as_str).collect()
    }

    #[test]
    fn names_are_a_set_in_order() {
        let resources = Resources::new(["b", "a", "b", "c", "a"]).unwrap();
        assert_eq!((names(&resources), resources.len()), (vec!["a", "b", "c"], 3));
        assert_eq!(resources.first().as_str(), "a");
        assert_eq!(resources, Resources::new(["c", "b", "a"]).unwrap());
    }

    #[test]
    fn one_name_is_the_same_however_it_is_given() {
        let one = Resources::from(Resource::new("a").unwrap());
        assert_eq!(one, Resources::new(["a", "a"]).unwrap());
        assert_eq!(names(&one), ["a"]);
    }

    #[test]
    fn a_name_and_a_list_of_names_convert() {
        let one = Resources::new(["a"]).unwrap();
        let name = String::from("a");
        let converted = [
            Resources::of("a"),
            Resources::of(&"a"),
            Resources::of(&name),
            Resources::of(Box::<str>::from("a")),
            Resources::of(Arc::<str>::from("a")),
            Resources::of(Cow::Borrowed("a")),
            Resources::of(Resource::new("a").unwrap()),
            Resources::of(["a"]),
            Resources::of(&one),
            Resources::of(name),
        ];
        assert!(converted.iter().all(|converted| converted.as_ref() == Ok(&one)), "{converted:?}");

        let two = Resources::new(["a", "b"]).unwrap();
        let names = vec!["b".to_owned(), "a".to_owned()];
        let set = BTreeSet::from(["a", "b"]);
        let converted = [
            Resources::of(["b", "a"]),
            Resources::of(&["b", "a"]),
            Resources::of(&*names),
            Resources::of(&names),
            Resources::of(&set),
            Resources::of(set),
            Resources::of(two.clone()),
            Resources::of(names),
        ];
        assert!(converted.iter().all(|converted| converted.as_ref() == Ok(&two)), "{converted:?}");

        assert_eq!(Resources::of(""), Err(ResourceError::Empty));
        assert_eq!(Resources::of(["a", ""]), Err(ResourceError::Empty));
        assert_eq!(Resources::of([""; 0]), Err(ResourceError::None));
    }

    #[test]
    fn no_names_too_many_and_bad_ones_are_refused() {
        assert_eq!(Resources::new([""; 0]), Err(ResourceError::None));
        assert_eq!(Resources::new(["a", ""]), Err(ResourceError::Empty));
        let numbers = |count: usize| Resources::new((0..count).map(|number| number.to_string()));
        assert_eq!(numbers(256).unwrap().len(), 256);
        assert_eq!(numbers(257), Err(ResourceError::TooMany));
        assert_eq!(Resources::new(["a"; 1000]).unwrap().len(), 1);
    }

    #[test]
    fn keys_are_names_with_a_prefix_and_have_a_maximum_length() {
        let key = |names: &[&str]| Resources::new(names).unwrap().prefixed("p:");
        assert_eq!(names(&key(&["b"]).unwrap()), ["p:b"]);
        assert_eq!(names(&key(&["b", "a"]).unwrap()), ["p:a", "p:b"]);
        let (longest, longer) = ("x".repeat(Resource::MAX_LEN - 2), "x".repeat(Resource::MAX_LEN - 1));
        assert_eq!(key(&[&longest]).unwrap().first().as_str().len(), Resource::MAX_LEN);
        let error = ResourceError::KeyTooLong { len: Resource::MAX_LEN + 1, prefix: 2 };
        assert_eq!(key(&[&longer]), Err(error.clone()));
        assert_eq!(key(&[&longest, &longer]), Err(error));
    }

    #[test]
    fn names_are_printed_quoted_and_bounded() {
        let printed =
            |count: usize| Resources::new((0..count).map(|number| format!("r\n{number}"))).unwrap().to_string();
        assert_eq!(printed(1), r#""r\n0""#);
        assert_eq!(printed(2), r#""r\n0", "r\n1""#);
        assert_eq!(printed(4), r#""r\n0", "r\n1", "r\n2", "r\n3""#);
        assert_eq!(printed(7), r#""r\n0", "r\n1", "r\n2", "r\n3" and 3 more"#);
        let huge = Resources::new(["x".repeat(1000), "y".repeat(1000)]).unwrap();
        assert!(huge.to_string().len() < 500, "{huge}");
    }
}
