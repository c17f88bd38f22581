//! The document store: versions, their names, hashes and status (aws-ssm-facts 2.10).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::content::Content;
use super::wire::error::ApiError;
use super::wire::paging::hex;
use super::world::Time;

/// Quotas of an account and region (aws-ssm-facts 1).
const MAX_DOCUMENTS: usize = 500;
const MAX_VERSIONS: usize = 1000;

const RESERVED_PREFIXES: [&str; 6] = ["aws", "amazon", "amzn", "awsec2", "awsconfigremediation", "awssupport"];

/// One version of a document.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// 1, 2, ...
    pub(crate) number: u64,
    /// `VersionName`
    pub(crate) name: Option<String>,
    /// The bytes as they were sent.
    pub(crate) text: String,
    /// `JSON` or `YAML`.
    pub(crate) format: String,
    /// The parsed text.
    pub(crate) content: Arc<Content>,
    /// SHA-256 of the text.
    pub(crate) hash: String,
    /// When it was made.
    pub(crate) created: Time,
}

/// A document and its versions, the oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Its name.
    pub(crate) name: String,
    /// `TargetType`
    pub(crate) target_type: Option<String>,
    /// `DisplayName`
    pub(crate) display_name: Option<String>,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// Never empty.
    pub(crate) versions: Vec<Version>,
    /// The number of the version that `$DEFAULT` means.
    pub(crate) default_version: u64,
    /// The highest number that was ever given.
    latest_version: u64,
}

/// The members of `CreateDocument` and `UpdateDocument` that the two share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload {
    /// `Content`
    pub(crate) text: String,
    /// `DocumentFormat`
    pub(crate) format: String,
    /// `VersionName`
    pub(crate) version_name: Option<String>,
    /// `TargetType`
    pub(crate) target_type: Option<String>,
    /// `DisplayName`
    pub(crate) display_name: Option<String>,
}

/// Which version a request means.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Selector<'a> {
    /// `DocumentVersion`: a number, `$LATEST` or `$DEFAULT`.
    pub(crate) version: Option<&'a str>,
    /// `VersionName`
    pub(crate) name: Option<&'a str>,
}

/// All documents of the account.
#[derive(Debug)]
pub(crate) struct DocumentStore {
    documents: BTreeMap<String, Document>,
    /// How long a new version is not `Active` yet.
    settle: Duration,
}

impl Document {
    /// The newest version.
    pub(crate) fn latest(&self) -> &Version {
        self.versions.last().expect("invariant: a document has a version")
    }

    /// The version that a request means.
    pub(crate) fn version(&self, selector: Selector<'_>) -> Result<&Version, ApiError> {
        let wanted = |version: &&Version| match selector.version {
            None if selector.name.is_some() => true,
            None | Some("$DEFAULT") => version.number == self.default_version,
            Some("$LATEST") => version.number == self.latest().number,
            Some(number) => version.number.to_string() == number,
        };
        self.versions
            .iter()
            .find(|version| wanted(version) && selector.name.is_none_or(|name| version.name.as_deref() == Some(name)))
            .ok_or_else(|| no_version(&self.name))
    }
}

fn no_version(name: &str) -> ApiError {
    let message = format!("The document version is not valid or does not exist for document {name}.");
    ApiError::modelled("InvalidDocumentVersion", message)
}

impl DocumentStore {
    /// An empty store whose new versions are `Active` after `settle`.
    pub(crate) fn new(settle: Duration) -> Self {
        Self { documents: BTreeMap::new(), settle }
    }

    /// All documents by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Document> {
        self.documents.values()
    }

    /// One document. A name can also be an ARN.
    pub(crate) fn get(&self, name: &str) -> Result<&Document, ApiError> {
        let short = name.rsplit_once(":document/").map_or(name, |(_, short)| short);
        self.documents.get(short).ok_or_else(|| unknown(name))
    }

    /// One document, to change it.
    pub(crate) fn get_mut(&mut self, name: &str) -> Result<&mut Document, ApiError> {
        self.documents.get_mut(name).ok_or_else(|| unknown(name))
    }

    /// `Creating`, `Updating` or `Active`.
    pub(crate) fn status(&self, version: &Version, now: Time) -> &'static str {
        if now >= version.created + self.settle {
            "Active"
        } else if version.number == 1 {
            "Creating"
        } else {
            "Updating"
        }
    }

    /// `CreateDocument`
    pub(crate) fn create(
        &mut self,
        name: &str,
        upload: Upload,
        tags: BTreeMap<String, String>,
        now: Time,
    ) -> Result<&Document, ApiError> {
        let lower = name.to_ascii_lowercase();
        if RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
            return Err(ApiError::validation(format!("The document name {name} starts with a reserved prefix.")));
        }
        if self.documents.contains_key(name) {
            return Err(ApiError::modelled(
                "DocumentAlreadyExists",
                format!("The specified document {name} already exists."),
            ));
        }
        if self.documents.len() >= MAX_DOCUMENTS {
            return Err(ApiError::modelled(
                "DocumentLimitExceeded",
                format!("You can have at most {MAX_DOCUMENTS} documents."),
            ));
        }
        let (target_type, display_name) = (upload.target_type.clone(), upload.display_name.clone());
        let versions = vec![version(upload, 1, now)?];
        let document = Document {
            name: name.to_owned(),
            target_type,
            display_name,
            tags,
            versions,
            default_version: 1,
            latest_version: 1,
        };
        Ok(self.documents.entry(name.to_owned()).or_insert(document))
    }

    /// `UpdateDocument`. `based_on` is the request's `DocumentVersion`.
    pub(crate) fn update(
        &mut self,
        name: &str,
        based_on: Option<&str>,
        upload: Upload,
        now: Time,
    ) -> Result<&Document, ApiError> {
        let document = self.get_mut(name)?;
        let latest = document.latest();
        if based_on != Some("$LATEST") && based_on != Some(latest.number.to_string().as_str()) {
            let message = format!("The document version is not the latest version of document {name}.");
            return Err(ApiError::modelled("InvalidDocumentVersion", message));
        }
        if latest.text == upload.text {
            let message = "The content of the document matches its latest version. Change the content and try again.";
            return Err(ApiError::modelled("DuplicateDocumentContent", message));
        }
        if upload.version_name.is_some() && document.versions.iter().any(|known| known.name == upload.version_name) {
            let message = "The version name has already been used in this document. Specify a different version name.";
            return Err(ApiError::modelled("DuplicateDocumentVersionName", message));
        }
        if document.versions.len() >= MAX_VERSIONS {
            let message = format!("The document has {MAX_VERSIONS} versions. Delete one and try again.");
            return Err(ApiError::modelled("DocumentVersionLimitExceeded", message));
        }
        let (target_type, display_name) = (upload.target_type.clone(), upload.display_name.clone());
        let made = version(upload, document.latest_version + 1, now)?;
        document.latest_version = made.number;
        document.versions.push(made);
        document.target_type = target_type.or(document.target_type.take());
        document.display_name = display_name.or(document.display_name.take());
        Ok(document)
    }

    /// `UpdateDocumentDefaultVersion`
    pub(crate) fn set_default(&mut self, name: &str, number: &str) -> Result<&Document, ApiError> {
        let document = self.get_mut(name)?;
        document.default_version = document.version(Selector { version: Some(number), name: None })?.number;
        Ok(document)
    }

    /// `DeleteDocument`: one version, or all of them.
    pub(crate) fn delete(&mut self, name: &str, selector: Selector<'_>) -> Result<(), ApiError> {
        let document = self.get_mut(name)?;
        if selector.version.is_none() && selector.name.is_none() {
            self.documents.remove(name);
            return Ok(());
        }
        let number = document.version(selector)?.number;
        if number == document.default_version {
            let message = "The default version of a document cannot be deleted.";
            return Err(ApiError::modelled("InvalidDocumentOperation", message));
        }
        document.versions.retain(|version| version.number != number);
        Ok(())
    }
}

fn unknown(name: &str) -> ApiError {
    ApiError::modelled("InvalidDocument", format!("Document with name {name} does not exist."))
}

fn version(upload: Upload, number: u64, now: Time) -> Result<Version, ApiError> {
    let content = Arc::new(Content::parse(&upload.text, &upload.format)?);
    let hash = hex(&Sha256::digest(upload.text.as_bytes()));
    Ok(Version {
        number,
        name: upload.version_name,
        text: upload.text,
        format: upload.format,
        content,
        hash,
        created: now,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{DocumentStore, Selector, Upload};
    use crate::sim::content::tests::sample;
    use crate::sim::world::Time;

    const NOW: Time = Duration::from_secs(1_700_000_000);

    fn upload(word: &str, version_name: Option<&str>) -> Upload {
        let mut document = sample();
        document["description"] = word.into();
        Upload {
            text: document.to_string(),
            format: "JSON".to_owned(),
            version_name: version_name.map(str::to_owned),
            ..Upload::default()
        }
    }

    fn store() -> DocumentStore {
        let mut store = DocumentStore::new(Duration::from_millis(100));
        store.create("Sample", upload("one", Some("v-one")), BTreeMap::new(), NOW).unwrap();
        store
    }

    fn select<'a>(version: Option<&'a str>, name: Option<&'a str>) -> Selector<'a> {
        Selector { version, name }
    }

    #[test]
    fn versions_are_found_by_number_name_and_variable() {
        let mut store = store();
        store.update("Sample", Some("$LATEST"), upload("two", Some("v-two")), NOW).unwrap();
        let document = store.get("Sample").unwrap();
        for (version, name, expected) in [
            (None, None, Ok(1)),
            (Some("$DEFAULT"), None, Ok(1)),
            (Some("$LATEST"), None, Ok(2)),
            (Some("2"), None, Ok(2)),
            (None, Some("v-two"), Ok(2)),
            (Some("1"), Some("v-two"), Err("InvalidDocumentVersion")),
            (Some("3"), None, Err("InvalidDocumentVersion")),
            (None, Some("v-three"), Err("InvalidDocumentVersion")),
        ] {
            let found = document.version(select(version, name)).map(|version| version.number);
            assert_eq!(
                found.map_err(|error| error.code.into_owned()),
                expected.map_err(str::to_owned),
                "{version:?} {name:?}"
            );
        }
        assert!(store.get("arn:aws:ssm:eu-central-1:111122223333:document/Sample").is_ok());
    }

    #[test]
    fn updates_are_refused_by_name() {
        let mut store = store();
        store.update("Sample", Some("1"), upload("two", None), NOW).unwrap();
        for (name, based_on, upload, code) in [
            ("Other", Some("$LATEST"), upload("x", None), "InvalidDocument"),
            ("Sample", Some("1"), upload("x", None), "InvalidDocumentVersion"),
            ("Sample", None, upload("x", None), "InvalidDocumentVersion"),
            ("Sample", Some("$LATEST"), upload("two", None), "DuplicateDocumentContent"),
            ("Sample", Some("2"), upload("x", Some("v-one")), "DuplicateDocumentVersionName"),
            ("Sample", Some("2"), Upload { text: "{".to_owned(), ..Upload::default() }, "InvalidDocumentContent"),
        ] {
            assert_eq!(store.update(name, based_on, upload, NOW).unwrap_err().code, code);
        }
        let document = store.get("Sample").unwrap();
        assert_eq!((document.versions.len(), document.default_version), (2, 1), "a refused update changes nothing");
    }

    #[test]
    fn a_version_is_active_after_a_while() {
        let mut store = store();
        store.update("Sample", Some("1"), upload("two", None), NOW).unwrap();
        let document = store.get("Sample").unwrap();
        assert_eq!(store.status(&document.versions[0], NOW), "Creating");
        assert_eq!(store.status(&document.versions[1], NOW), "Updating");
        assert_eq!(store.status(&document.versions[1], NOW + Duration::from_millis(100)), "Active");
    }

    #[test]
    fn the_default_version_stays_until_it_is_moved() {
        let mut store = store();
        store.update("Sample", Some("1"), upload("two", None), NOW).unwrap();
        assert_eq!(store.delete("Sample", select(Some("1"), None)).unwrap_err().code, "InvalidDocumentOperation");
        assert_eq!(store.set_default("Sample", "7").unwrap_err().code, "InvalidDocumentVersion");
        store.set_default("Sample", "2").unwrap();
        store.delete("Sample", select(Some("1"), None)).unwrap();
        let document = store.get("Sample").unwrap();
        assert_eq!((document.versions.len(), document.default_version), (1, 2));
        store.update("Sample", Some("$LATEST"), upload("one", Some("v-one")), NOW).unwrap();
        assert_eq!(store.get("Sample").unwrap().latest().number, 3, "numbers are not used again");
        store.delete("Sample", select(None, None)).unwrap();
        assert_eq!(store.get("Sample").unwrap_err().code, "InvalidDocument");
    }

    #[test]
    fn names_are_checked() {
        let mut store = store();
        let make = |store: &mut DocumentStore, name| {
            store
                .create(name, upload("x", None), BTreeMap::new(), NOW)
                .map(|_| ())
                .map_err(|error| error.code.into_owned())
        };
        assert_eq!(make(&mut store, "Sample"), Err("DocumentAlreadyExists".to_owned()));
        assert_eq!(make(&mut store, "AWS-Mine"), Err("ValidationException".to_owned()));
        assert_eq!(make(&mut store, "amazon-x"), Err("ValidationException".to_owned()));
        assert_eq!(make(&mut store, "Other"), Ok(()));
    }
}
