//! The receipt of an answer: priced, split, charged, signed and kept in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use openledger_ledger::Rules;
use openledger_protocol::{
    Address, Amount, Annex, B256, Completion, ContributionId, CreditState, Credits, FormatVersion, Params, Parties,
    PrincipalId, Receipt, ReceiptBundle, ReceiptKind, Terms, keccak, lines_root, output_root, request_hash, word,
};
use openledger_serving::Answer;
use openledger_store::receipts::NewReceipt;
use openledger_store::requests::Response;
use openledger_store::reservations::ReceiptPlace;
use openledger_store::transact_locked;

use super::{Answering, Ask, Held};
use crate::error::{Blame, NodeError, Result};
use crate::models::Offered;
use crate::requests::RequestHold;

/// All of a receipt but its place: what is known before it is charged.
struct Draft {
    price: Amount,
    terms: Terms,
    annex: Annex,
    holder_block: u64,
    params: Params,
}

impl Answering {
    /// Charges an answer that was credited by `params`, and keeps its receipt. A repeat under the
    /// request's key finds this receipt from now on.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`] and [`NodeError::Split`]; then nothing is charged and nothing is kept.
    pub(crate) async fn settle(
        &self,
        ask: &Ask,
        held: Held,
        answer: &Answer,
        credits: Credits,
        params: &Params,
    ) -> Result<ReceiptBundle> {
        let Held { money, key } = held;
        let draft = self.draft(ask, answer, &credits, params).await?;
        let reservation = money.id().ok_or_else(|| NodeError::lost("reservation", ask.channel))?;
        if draft.price > money.amount() {
            let detail =
                format!("the answer costs {}, more than the {} that was reserved", draft.price, money.amount());
            return Err(NodeError::refused(Blame::Operator, "over-reserved", detail));
        }
        let now = self.chain.signing_time();
        let expires = self.requests.expires();
        let key_hold = key.as_ref().and_then(RequestHold::key);
        let bundle = transact_locked!(self.store, |tx| {
            let place = tx.charge(reservation, draft.price, now).await?;
            let bundle = self.sign(ask, answer, &credits, &draft, &place)?;
            let (id, body) = (bundle.signed.receipt.id(), serde_json::to_string(&bundle)?);
            let receipt = NewReceipt {
                id,
                model: ask.model.id,
                tokens_in: answer.completion.usage.prompt_tokens,
                tokens_out: answer.completion.usage.completion_tokens,
                body: &body,
            };
            tx.put_receipt(place, &receipt, &bundle.entries).await?;
            if let Some(hold) = key_hold {
                let response = Response { status: 200, headers: Vec::new(), body: id.0.to_vec() };
                tx.finish_request(hold, &response, expires).await?;
            }
            Ok::<_, NodeError>(bundle)
        })?;
        money.charged();
        if let Some(key) = key {
            key.finished();
        }
        self.count(answer);
        Ok(bundle)
    }

    async fn draft(&self, ask: &Ask, answer: &Answer, credits: &Credits, params: &Params) -> Result<Draft> {
        let usage = answer.completion.usage;
        let price = openledger_ledger::price(usage.prompt_tokens, usage.completion_tokens, &ask.model.prices)?;
        let holder_block = self.chain.indexed_block();
        let terms = self.terms(&ask.model, credits, holder_block).await?;
        let annex = Annex::of(&answer.completion, &terms, ask.model.manifest_hash)?;
        Ok(Draft { price, terms, annex, holder_block, params: params.clone() })
    }

    /// Splits the price and signs the receipt for its place in the channel and the epoch.
    fn sign(
        &self,
        ask: &Ask,
        answer: &Answer,
        credits: &Credits,
        draft: &Draft,
        place: &ReceiptPlace,
    ) -> Result<ReceiptBundle> {
        let completion = &answer.completion;
        let (model, terms) = (&ask.model, &draft.terms);
        let mut receipt = self.words(ask, completion, credits, draft, place)?;
        let rules = Rules { shares: model.rule, mix: model.manifest.mix, params: &draft.params };
        let entries =
            openledger_ledger::split(receipt.id(), draft.price, &rules, credits, &terms.holders, &terms.parties)?;
        receipt.lines = lines_root(&entries)?;
        let domain = self.chain.receipts();
        let words = receipt.words().to_vec();
        Ok(ReceiptBundle {
            format: ReceiptBundle::FORMAT.into(),
            signed: receipt.sign(domain, self.keys.main()),
            words,
            request: ask.canonical.clone(),
            completion: completion.clone(),
            credits: credits.clone(),
            terms: terms.clone(),
            params: draft.params.clone(),
            entries,
            annex: draft.annex.clone(),
            parents: Vec::new(),
            context: Vec::new(),
            note: None,
            inclusion: None,
            entry_proofs: Vec::new(),
        })
    }

    fn words(
        &self,
        ask: &Ask,
        completion: &Completion,
        credits: &Credits,
        draft: &Draft,
        place: &ReceiptPlace,
    ) -> Result<Receipt> {
        let (model, manifest) = (&ask.model, &ask.model.manifest);
        let mut receipt = Receipt {
            version: FormatVersion,
            kind: ReceiptKind::Answer,
            credit_state: CreditState::Inline,
            node: self.chain.node(),
            channel: place.channel,
            nonce: place.nonce,
            cumulative: place.cumulative,
            principal: B256::ZERO,
            params: draft.params.hash(),
            parents: B256::ZERO,
            context: B256::ZERO,
            annex: draft.annex.struct_hash(),
            lines: B256::ZERO,
            datanets: manifest.datanets_hash(),
            model: model.id,
            base: completion.base,
            adapter: completion.adapter,
            tokenizer: completion.tokenizer,
            numeric_mode: keccak(&completion.numeric_mode),
            sampling: completion.sampling.hash()?,
            seed: completion.sampling.seed,
            request: request_hash(&ask.canonical)?,
            output: output_root(&completion.text),
            tokens_in: completion.usage.prompt_tokens,
            tokens_out: completion.usage.completion_tokens,
            price: draft.price,
            platform_bps: model.rule.platform_bps(),
            model_bps: model.rule.model_bps(),
            stakers_bps: model.rule.stakers_bps(),
            contributors_bps: model.rule.contributors_bps(),
            methods: manifest.methods_hash(),
            spans_root: credits.spans_root(),
            scores_root: credits.scores_root(),
            coverage_spans: credits.coverage.spans,
            coverage_influence: credits.coverage.influence,
            coverage_retrieval: credits.coverage.retrieval,
            holder_block: draft.holder_block,
            time: place.time,
        };
        // Only the node, and those whom it tells the salt, can link receipts of one payer by this word.
        let salt = PrincipalId::salt(self.keys.main(), receipt.id());
        receipt.principal = PrincipalId::Account(place.payer).commitment(salt);
        Ok(receipt)
    }

    /// The accounts behind the lines of a split, holders as of `block`.
    ///
    /// # Errors
    ///
    /// `damaged-data` when the index lacks the title of the model or of a credited contribution.
    async fn terms(&self, model: &Offered, credits: &Credits, block: u64) -> Result<Terms> {
        let titles = self.chain.contributions();
        let scored: BTreeSet<ContributionId> = credits.scores.iter().map(|score| score.contribution()).collect();
        let mut holders: BTreeMap<ContributionId, Address> = BTreeMap::new();
        for contribution in scored {
            let holder = self.store.owner_at(titles, contribution.0, block).await?;
            holders.insert(contribution, holder.ok_or_else(|| NodeError::lost("title of contribution", contribution))?);
        }
        let owner = self.store.owner_at(self.chain.models(), word(model.id.0), block).await?;
        let parties = Parties {
            treasury: self.platform.treasury,
            validation: self.platform.validation,
            insurance: self.platform.insurance,
            owner: owner.ok_or_else(|| NodeError::lost("title of model", model.id))?,
            node: self.chain.node(),
            stakers: model.stake_vault,
            parents: Vec::new(),
        };
        Ok(Terms { prices: model.prices, parties, holders })
    }
}
