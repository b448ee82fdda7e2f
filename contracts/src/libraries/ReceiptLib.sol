// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title ReceiptLib
/// @notice A receipt as the 29 words its node signed, and the fields that proofs need of it.
/// @dev Words come from calldata unchecked; a word that does not fit its type cannot hash to a leaf of an honest epoch,
/// and in a dishonest one truncating it only ever concerns the proposer's own lie.
library ReceiptLib {
    bytes32 internal constant TYPEHASH = keccak256(
        "Receipt(address node,bytes32 channel,uint64 nonce,uint128 cumulative,bytes32 datanets,uint64 model,bytes32 base,bytes32 adapter,bytes32 tokenizer,bytes32 numericMode,bytes32 sampling,uint64 seed,bytes32 request,bytes32 output,uint32 tokensIn,uint32 tokensOut,uint128 price,uint16 platformBps,uint16 modelBps,uint16 stakersBps,uint16 contributorsBps,bytes32 methods,bytes32 spansRoot,bytes32 scoresRoot,uint32 coverageSpans,uint32 coverageInfluence,uint32 coverageRetrieval,uint64 holderBlock,uint64 time)"
    );

    uint256 private constant NODE = 0;
    uint256 private constant CHANNEL = 1;
    uint256 private constant NONCE = 2;
    uint256 private constant MODEL = 5;
    uint256 private constant OUTPUT = 13;
    uint256 private constant PRICE = 16;
    uint256 private constant PLATFORM_BPS = 17;
    uint256 private constant MODEL_BPS = 18;
    uint256 private constant STAKERS_BPS = 19;
    uint256 private constant CONTRIBUTORS_BPS = 20;
    uint256 private constant SPANS_ROOT = 22;
    uint256 private constant HOLDER_BLOCK = 27;
    uint256 private constant TIME = 28;

    /// @dev EIP-712 struct hash.
    function structHash(bytes32[29] calldata words) internal pure returns (bytes32 hash) {
        bytes32 typehash = TYPEHASH;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typehash)
            calldatacopy(add(free, 32), words, 928)
            hash := keccak256(free, 960)
        }
    }

    /// @dev `keccak256(channel, nonce)`.
    function id(bytes32[29] calldata words) internal pure returns (bytes32) {
        return keccak256(abi.encode(words[CHANNEL], words[NONCE]));
    }

    function node(bytes32[29] calldata words) internal pure returns (address) {
        return address(uint160(uint256(words[NODE])));
    }

    function model(bytes32[29] calldata words) internal pure returns (uint64) {
        return uint64(uint256(words[MODEL]));
    }

    function output(bytes32[29] calldata words) internal pure returns (bytes32) {
        return words[OUTPUT];
    }

    function price(bytes32[29] calldata words) internal pure returns (uint256) {
        return uint256(words[PRICE]);
    }

    /// @dev Shares of platform, model, stakers and contributors, in basis points.
    function split(bytes32[29] calldata words)
        internal
        pure
        returns (uint256 platform, uint256 model_, uint256 stakers, uint256 contributors)
    {
        return (
            uint256(words[PLATFORM_BPS]),
            uint256(words[MODEL_BPS]),
            uint256(words[STAKERS_BPS]),
            uint256(words[CONTRIBUTORS_BPS])
        );
    }

    function spansRoot(bytes32[29] calldata words) internal pure returns (bytes32) {
        return words[SPANS_ROOT];
    }

    function holderBlock(bytes32[29] calldata words) internal pure returns (uint256) {
        return uint256(words[HOLDER_BLOCK]);
    }

    function time(bytes32[29] calldata words) internal pure returns (uint256) {
        return uint256(words[TIME]);
    }
}
