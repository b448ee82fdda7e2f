// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @dev Words of a credit note.
uint256 constant NOTE_WORDS = 8;

/// @title NoteLib
/// @notice A credit note as the words its node signed: the credits and lines of a receipt that were known only later.
/// @dev Words come from calldata unchecked, as a receipt's do.
/// @dev A note signed up to the epoch's cutoff counts; without one a deferred receipt pays its own lines.
library NoteLib {
    bytes32 internal constant TYPEHASH = keccak256(
        "CreditNote(bytes32 receipt,bytes32 spansRoot,bytes32 scoresRoot,uint32 coverageSpans,uint32 coverageInfluence,uint32 coverageRetrieval,bytes32 lines,uint64 time)"
    );

    uint256 internal constant RECEIPT = 0;
    uint256 internal constant SPANS_ROOT = 1;
    uint256 internal constant LINES = 6;
    uint256 internal constant TIME = 7;

    /// @dev EIP-712 struct hash.
    function structHash(bytes32[NOTE_WORDS] calldata words) internal pure returns (bytes32 hash) {
        bytes32 typehash = TYPEHASH;
        uint256 size = 32 * NOTE_WORDS;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typehash)
            calldatacopy(add(free, 32), words, size)
            hash := keccak256(free, add(size, 32))
        }
    }

    /// @dev Id of the receipt that the note credits.
    function receipt(bytes32[NOTE_WORDS] calldata words) internal pure returns (bytes32) {
        return words[RECEIPT];
    }

    function spansRoot(bytes32[NOTE_WORDS] calldata words) internal pure returns (bytes32) {
        return words[SPANS_ROOT];
    }

    /// @dev Hash of the root of the sum tree over the lines, in place of the receipt's own.
    function lines(bytes32[NOTE_WORDS] calldata words) internal pure returns (bytes32) {
        return words[LINES];
    }

    function time(bytes32[NOTE_WORDS] calldata words) internal pure returns (uint256) {
        return uint256(words[TIME]);
    }
}
