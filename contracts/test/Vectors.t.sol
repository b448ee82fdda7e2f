// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {FormatsLib} from "../src/libraries/FormatsLib.sol";
import {ReceiptLib} from "../src/libraries/ReceiptLib.sol";
import {Base} from "./base/Base.sol";

/// @dev Gives the library calldata.
contract ReceiptHarness {
    function structHash(bytes32[29] calldata words) external pure returns (bytes32) {
        return ReceiptLib.structHash(words);
    }

    function id(bytes32[29] calldata words) external pure returns (bytes32) {
        return ReceiptLib.id(words);
    }
}

/// @dev The formats as `docs/formats.md` writes them out, against the libraries.
contract VectorsTest is Base {
    bytes32[29] private words;

    function test_tags_are_hashes_of_their_names() public pure {
        eq(FormatsLib.TAG_CHUNK, keccak256("openledger/chunk/v1"), "chunk");
        eq(FormatsLib.TAG_SUM_NODE, keccak256("openledger/sum-node/v1"), "sum node");
    }

    function test_a_payout_leaf_is_hashed_twice_over_its_words() public view {
        bytes memory encoded =
            abi.encode(keccak256("openledger/payout/v1"), block.chainid, address(0xAA), address(0xBB), uint256(7));
        eq(
            FormatsLib.payoutLeaf(address(0xAA), address(0xBB), 7),
            keccak256(abi.encode(keccak256(encoded))),
            "payout leaf"
        );
    }

    function test_a_receipt_is_hashed_over_its_type_and_words() public {
        ReceiptHarness lib = new ReceiptHarness();
        for (uint256 i; i < 29; ++i) {
            words[i] = bytes32(i + 1);
        }
        eq(lib.structHash(words), keccak256(abi.encodePacked(ReceiptLib.TYPEHASH, words)), "struct hash");
        eq(lib.id(words), keccak256(abi.encode(words[1], words[2])), "id");
    }
}
