//! What an operation took out of a structure, on its way to be dropped.

/// A list that is nearly always empty or of one item, and then allocates nothing.
///
/// Dropping an item may run a destructor that uses the structure again, so operations move what they remove in here
/// and the caller drops it once it holds no lock.
#[derive(Debug)]
#[must_use = "what was removed is to be dropped where no lock is held"]
pub struct Removed<T> {
    first: Option<T>,
    rest: Vec<T>,
}

impl<T> Default for Removed<T> {
    fn default() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }
}

impl<T> Removed<T> {
    /// Adds an item at the end.
    #[inline]
    pub fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.push(item);
        }
    }

    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl<T> IntoIterator for Removed<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}
