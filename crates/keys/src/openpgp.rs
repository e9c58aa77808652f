//! Detached OpenPGP signatures. The library checks the mathematics; what a key may do and until
//! when is decided here.

use pgp::composed::{Deserializable, DetachedSignature, PublicOrSecret, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag, Timestamp};

/// Keys in one ring.
const KEYS: usize = 1000;
const ARMOR: &str = "-----BEGIN PGP SIGNATURE-----";

/// Why a text is no key ring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to read armored key ring: {0}")]
pub struct KeyRingError(String);

/// Why a key ring does not vouch for a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("signature cannot be read")]
    Malformed,
    #[error("signature made by unknown entity")]
    Unknown,
    #[error("signature made by revoked key")]
    Revoked,
    #[error("key expired")]
    KeyExpired,
    #[error("signature expired")]
    Expired,
    #[error("key is not meant for signing")]
    Purpose,
    #[error("insecure algorithm")]
    Weak,
    #[error("invalid signature")]
    Invalid,
}

/// Public keys from one armored text.
#[derive(Clone, Debug)]
pub struct KeyRing(Vec<SignedPublicKey>);

impl KeyRing {
    /// Reads armored keys, one or several in one or several blocks.
    ///
    /// # Errors
    /// When the text holds no key, or something else.
    pub fn parse(text: &[u8]) -> Result<Self, KeyRingError> {
        let fail = |why: &str| KeyRingError(why.to_owned());
        let text = std::str::from_utf8(text).map_err(|_| fail("not a text"))?;
        let mut keys = Vec::new();
        for (start, _) in text.match_indices("-----BEGIN PGP ") {
            let block = text.get(start..).unwrap_or_default();
            let (found, _) = PublicOrSecret::from_armor_many(block.as_bytes())
                .map_err(|error| fail(&error.to_string()))?;
            for key in found {
                keys.push(match key.map_err(|error| fail(&error.to_string()))? {
                    PublicOrSecret::Public(key) => key,
                    PublicOrSecret::Secret(key) => key.to_public_key(),
                });
                if keys.len() > KEYS {
                    return Err(fail("too many keys"));
                }
            }
        }
        if keys.is_empty() { Err(fail("no armored key found")) } else { Ok(Self(keys)) }
    }

    /// Checks a detached armored signature and answers the long id of the signer's primary key.
    pub(crate) fn verify(&self, payload: &[u8], signature: &[u8], now: i64) -> Result<String, Refusal> {
        let armored = std::str::from_utf8(signature).map_err(|_| Refusal::Malformed)?;
        if !armored.trim_start().starts_with(ARMOR) {
            return Err(Refusal::Malformed);
        }
        let (signature, _) = DetachedSignature::from_string(armored).map_err(|_| Refusal::Malformed)?;
        let signature = &signature.signature;
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err(Refusal::Malformed);
        }
        if signature.hash_alg().is_none_or(|hash| !is_strong(hash)) {
            return Err(Refusal::Weak);
        }
        let mut refusal = Refusal::Unknown;
        for key in &self.0 {
            let outcome = if names(signature, &key.primary_key) {
                check_primary(key, payload, signature, now)
            } else {
                let Some(subkey) = key.public_subkeys.iter().find(|subkey| names(signature, &subkey.key))
                else {
                    continue;
                };
                check_subkey(key, subkey, payload, signature, now)
            };
            match outcome {
                Ok(()) => return Ok(key.primary_key.legacy_key_id().to_string().to_uppercase()),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

const fn is_strong(hash: HashAlgorithm) -> bool {
    matches!(
        hash,
        HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha224
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512
    )
}

fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (id, fingerprint) = (key.legacy_key_id(), key.fingerprint());
    signature.issuer_fingerprint().iter().any(|issuer| **issuer == fingerprint)
        || signature.issuer_key_id().iter().any(|issuer| **issuer == id)
}

fn check_primary(
    key: &SignedPublicKey,
    payload: &[u8],
    signature: &Signature,
    now: i64,
) -> Result<(), Refusal> {
    weak_algorithm(&key.primary_key)?;
    let own = stands(key, now)?;
    may_sign(own)?;
    alive(signature, now)?;
    signature.verify(&key.primary_key, payload).map_err(|_| Refusal::Invalid)
}

fn check_subkey(
    key: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    payload: &[u8],
    signature: &Signature,
    now: i64,
) -> Result<(), Refusal> {
    weak_algorithm(&subkey.key)?;
    stands(key, now)?;
    let valid = |typ: SignatureType| {
        let of_type = subkey.signatures.iter().filter(move |binding| binding.typ() == Some(typ));
        of_type.filter(|binding| binding.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok())
    };
    if valid(SignatureType::SubkeyRevocation).next().is_some() {
        return Err(Refusal::Revoked);
    }
    let binding =
        valid(SignatureType::SubkeyBinding).max_by_key(|binding| binding.created().map(Timestamp::as_secs));
    let binding = binding.ok_or(Refusal::Unknown)?;
    alive(binding, now)?;
    may_sign(binding)?;
    // A subkey that signs must agree to belong to the primary key.
    let consent = binding.embedded_signature().ok_or(Refusal::Purpose)?;
    consent.verify_primary_key_binding(&subkey.key, &key.primary_key).map_err(|_| Refusal::Purpose)?;
    alive(consent, now)?;
    if expired(&subkey.key, binding, now) {
        return Err(Refusal::KeyExpired);
    }
    alive(signature, now)?;
    signature.verify(&subkey.key, payload).map_err(|_| Refusal::Invalid)
}

/// Checks that the primary key is neither revoked nor expired; answers its self-signature.
fn stands(key: &SignedPublicKey, now: i64) -> Result<&Signature, Refusal> {
    let primary = &key.primary_key;
    let revoked = key.details.revocation_signatures.iter();
    if revoked
        .filter(|s| s.typ() == Some(SignatureType::KeyRevocation))
        .any(|s| s.verify_key(primary).is_ok())
    {
        return Err(Refusal::Revoked);
    }
    let mut best: Option<(bool, u32, &Signature)> = None;
    let mut withdrawn = false;
    for user in &key.details.users {
        let ours: Vec<&Signature> = user
            .signatures
            .iter()
            .filter(|signature| names(signature, primary))
            .filter(|signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok())
            .collect();
        let seconds = |signature: &Signature| signature.created().map(Timestamp::as_secs).unwrap_or_default();
        let (revocations, certifications): (Vec<_>, Vec<_>) =
            ours.into_iter().partition(|signature| signature.typ() == Some(SignatureType::CertRevocation));
        let Some(latest) = certifications.into_iter().max_by_key(|signature| seconds(signature)) else {
            continue;
        };
        if revocations.iter().any(|revocation| seconds(revocation) >= seconds(latest)) {
            withdrawn = true;
            continue;
        }
        let candidate = (latest.is_primary(), seconds(latest), latest);
        if best.is_none_or(|known| (known.0, known.1) < (candidate.0, candidate.1)) {
            best = Some(candidate);
        }
    }
    let direct = key.details.direct_signatures.iter();
    let direct = direct.filter(|signature| signature.verify_key(primary).is_ok());
    let direct = direct.max_by_key(|signature| signature.created().map(Timestamp::as_secs));
    let own = best.map(|(_, _, signature)| signature).or(direct);
    let own = own.ok_or(if withdrawn { Refusal::Revoked } else { Refusal::Unknown })?;
    alive(own, now)?;
    if expired(primary, own, now) { Err(Refusal::KeyExpired) } else { Ok(own) }
}

/// Without the subpacket anything goes.
fn may_sign(own: &Signature) -> Result<(), Refusal> {
    let config = own.config().ok_or(Refusal::Malformed)?;
    let stated = config.hashed_subpackets().any(|packet| matches!(packet.data, SubpacketData::KeyFlags(_)));
    if !stated || own.key_flags().sign() { Ok(()) } else { Err(Refusal::Purpose) }
}

fn weak_algorithm(key: &impl KeyDetails) -> Result<(), Refusal> {
    let weak = matches!(
        key.algorithm(),
        PublicKeyAlgorithm::DSA | PublicKeyAlgorithm::Elgamal | PublicKeyAlgorithm::ElgamalEncrypt
    );
    if weak { Err(Refusal::Weak) } else { Ok(()) }
}

fn expired(key: &impl KeyDetails, own: &Signature, now: i64) -> bool {
    let created = i64::from(key.created_at().as_secs());
    let lifetime = own.key_expiration_time().map_or(0, |time| i64::from(time.as_secs()));
    created > now || lifetime > 0 && created + lifetime <= now
}

/// A signature is good from its creation until it expires.
fn alive(signature: &Signature, now: i64) -> Result<(), Refusal> {
    let created = i64::from(signature.created().ok_or(Refusal::Malformed)?.as_secs());
    let lifetime = signature.signature_expiration_time().map_or(0, |time| i64::from(time.as_secs()));
    if created > now || lifetime > 0 && created + lifetime <= now { Err(Refusal::Expired) } else { Ok(()) }
}
