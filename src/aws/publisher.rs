//! Publishing documents by content: a version is named by the SHA-256 of what it says, so publishing the same content again
//! finds it instead of making another (decision D3).

use std::time::Duration;

use aws_sdk_ssm::types::{DocumentFormat, DocumentHashType, DocumentStatus, DocumentType, Tag};

use super::error::AwsError;
use super::operation::Operation;
use super::session::Session;
use crate::document::Document;

/// How often the status of a new version is looked at before we give up, once a second.
const ACTIVATION_LOOKS: u32 = 60;
const ACTIVATION_INTERVAL: Duration = Duration::from_secs(1);
/// Two programs that publish at the same moment get in each other's way once or twice, not for ever.
const RACES: u32 = 4;
/// What a `Failed` document means is told; anything else is given time.
const UNUSABLE: [DocumentStatus; 2] = [DocumentStatus::Failed, DocumentStatus::Deleting];

/// A document that can be sent, pinned to one version: later publishing does not change what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedDocument {
    /// Its name.
    pub name: String,
    /// The number of the version.
    pub version: String,
    /// The service's own hash of this version, which it checks on sending.
    pub hash: String,
    /// The kind of that hash, such as `Sha256`.
    pub hash_type: String,
}

/// What came of an attempt to publish.
enum Attempt {
    Published(String),
    /// The very content is the latest version already, under another version name.
    IsLatest,
    /// Somebody else just did what we wanted to do.
    Raced,
    /// There is no document of this name.
    NoDocument,
}

impl Session {
    /// Makes sure that this content can be sent, and says as which version. Publishes only what is not there yet.
    ///
    /// # Errors
    ///
    /// Besides failing calls, a version that the service cannot make usable. A full document
    /// (`DocumentVersionLimitExceeded`) has a remedy of its own.
    pub async fn ensure_document(&self, source: &Document) -> Result<PublishedDocument, AwsError> {
        let mut wanted = Wanted::Named(source.version_name.clone());
        for round in 0..RACES {
            if round > 0 {
                // What was just published is not always listed at once.
                tokio::time::sleep(self.limiter.interval(ACTIVATION_INTERVAL)).await;
            }
            if let Some(published) = self.find_document(&source.name, &wanted).await? {
                return Ok(published);
            }
            wanted = match self.publish(source).await? {
                Attempt::Published(version) => Wanted::Numbered(version),
                Attempt::IsLatest => Wanted::Numbered("$LATEST".to_owned()),
                Attempt::Raced | Attempt::NoDocument => Wanted::Named(source.version_name.clone()),
            };
        }
        self.find_document(&source.name, &wanted).await?.ok_or_else(|| AwsError::DocumentNotActive {
            name: source.name.clone(),
            version: source.version_name.clone(),
            status: "published but not found".to_owned(),
        })
    }

    async fn publish(&self, source: &Document) -> Result<Attempt, AwsError> {
        match self.update_document(source).await? {
            Attempt::NoDocument => self.create_document(source).await,
            attempt => Ok(attempt),
        }
    }

    async fn update_document(&self, source: &Document) -> Result<Attempt, AwsError> {
        let operation = Operation::UpdateDocument;
        let answer = self
            .limiter
            .call(operation, &source.name, || {
                self.ssm
                    .update_document()
                    .name(&source.name)
                    .content(&source.content)
                    .version_name(&source.version_name)
                    .document_version("$LATEST")
                    .document_format(DocumentFormat::Json)
                    .target_type("/")
                    .send()
            })
            .await;
        match answer {
            Ok(answer) => published(operation, answer.document_description),
            Err(error) => match error.code() {
                Some("InvalidDocument") => Ok(Attempt::NoDocument),
                Some("DuplicateDocumentContent") => Ok(Attempt::IsLatest),
                // The second one is what the loser of a race sees: `$LATEST` moved between reading and writing.
                Some("DuplicateDocumentVersionName" | "InvalidDocumentVersion") => Ok(Attempt::Raced),
                _ => Err(error),
            },
        }
    }

    async fn create_document(&self, source: &Document) -> Result<Attempt, AwsError> {
        let operation = Operation::CreateDocument;
        let tag = Tag::builder().key("proxyfleet").value("document").build();
        let tag = tag.map_err(|error| AwsError::Limit { operation, problem: error.to_string() })?;
        let answer = self
            .limiter
            .call(operation, &source.name, || {
                self.ssm
                    .create_document()
                    .name(&source.name)
                    .content(&source.content)
                    .version_name(&source.version_name)
                    .document_type(DocumentType::Command)
                    .document_format(DocumentFormat::Json)
                    // Without it a document might run on no kind of node (aws-ssm-facts 2.10).
                    .target_type("/")
                    .tags(tag.clone())
                    .send()
            })
            .await;
        match answer {
            Ok(answer) => published(operation, answer.document_description),
            Err(error) if error.code() == Some("DocumentAlreadyExists") => Ok(Attempt::Raced),
            Err(error) => Err(error),
        }
    }

    /// The version, once it is active; `None` where there is no such version or no such document.
    async fn find_document(&self, name: &str, wanted: &Wanted) -> Result<Option<PublishedDocument>, AwsError> {
        let operation = Operation::DescribeDocument;
        let mut last = (String::new(), String::new());
        for _ in 0..ACTIVATION_LOOKS {
            let answer = self
                .limiter
                .call(operation, name, || {
                    let request = self.ssm.describe_document().name(name);
                    match wanted {
                        Wanted::Named(version_name) => request.version_name(version_name),
                        Wanted::Numbered(version) => request.document_version(version),
                    }
                    .send()
                })
                .await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) if matches!(error.code(), Some("InvalidDocument" | "InvalidDocumentVersion")) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let document = answer.document.ok_or(AwsError::Incomplete { operation, missing: "a document" })?;
            let version = document.document_version;
            let version = version.ok_or(AwsError::Incomplete { operation, missing: "a document version" })?;
            if document.status == Some(DocumentStatus::Active) {
                let hash = document.hash.ok_or(AwsError::Incomplete { operation, missing: "a document hash" })?;
                let hash_type = document.hash_type.unwrap_or(DocumentHashType::Sha256).as_str().to_owned();
                return Ok(Some(PublishedDocument { name: name.to_owned(), version, hash, hash_type }));
            }
            let status = document.status.map_or_else(|| "without status".to_owned(), |one| one.as_str().to_owned());
            let status = match document.status_information {
                Some(information) if !information.is_empty() => format!("{status} ({information})"),
                _ => status,
            };
            last = (version, status);
            if UNUSABLE.iter().any(|unusable| last.1.starts_with(unusable.as_str())) {
                break;
            }
            tokio::time::sleep(self.limiter.interval(ACTIVATION_INTERVAL)).await;
        }
        let (version, status) = last;
        Err(AwsError::DocumentNotActive { name: name.to_owned(), version, status })
    }
}

/// Which version to look for.
enum Wanted {
    Named(String),
    Numbered(String),
}

fn published(
    operation: Operation,
    description: Option<aws_sdk_ssm::types::DocumentDescription>,
) -> Result<Attempt, AwsError> {
    let version = description.and_then(|description| description.document_version);
    version.map(Attempt::Published).ok_or(AwsError::Incomplete { operation, missing: "a document version" })
}
