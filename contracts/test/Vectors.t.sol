// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {FormatsLib} from "../src/libraries/FormatsLib.sol";
import {NOTE_WORDS, NoteLib} from "../src/libraries/NoteLib.sol";
import {RECEIPT_WORDS, ReceiptLib} from "../src/libraries/ReceiptLib.sol";
import {SplitLib} from "../src/libraries/SplitLib.sol";
import {MerkleLib, SumNode} from "../src/libraries/MerkleLib.sol";
import {IChannels} from "../src/interfaces/IChannels.sol";
import {IContributions} from "../src/interfaces/IContributions.sol";
import {IDatanets} from "../src/interfaces/IDatanets.sol";
import {IParams} from "../src/interfaces/IParams.sol";
import {MerkleHarness} from "./Merkle.t.sol";
import {Trees} from "./base/Trees.sol";
import {World} from "./base/World.sol";

/// @dev Gives the library calldata.
contract ReceiptHarness {
    function structHash(bytes32[RECEIPT_WORDS] calldata words) external pure returns (bytes32) {
        return ReceiptLib.structHash(words);
    }

    function id(bytes32[RECEIPT_WORDS] calldata words) external pure returns (bytes32) {
        return ReceiptLib.id(words);
    }
}

/// @dev Gives the library calldata.
contract NoteHarness {
    function structHash(bytes32[NOTE_WORDS] calldata words) external pure returns (bytes32) {
        return NoteLib.structHash(words);
    }
}

/// @dev The golden cases that Rust wrote, against the libraries and contracts: two implementations, one format.
contract VectorsTest is World {
    string private json;
    MerkleHarness private lib;

    function setUp() public override {
        super.setUp();
        lib = new MerkleHarness();
        vm.chainId(2626);
    }

    function load(string memory file) private {
        json = vm.readFile(string.concat("../vectors/", file));
    }

    function key(string memory group, uint256 i, string memory name) private pure returns (string memory) {
        return string.concat(".", group, "[", vm.toString(i), "].", name);
    }

    function more(string memory group, uint256 i) private view returns (bool) {
        bool there = vm.keyExistsJson(json, string.concat(".", group, "[", vm.toString(i), "]"));
        ok(there || i != 0, string.concat("no cases of ", group));
        return there;
    }

    function word(string memory group, uint256 i, string memory name) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, key(group, i, name));
    }

    function number(string memory group, uint256 i, string memory name) private view returns (uint256) {
        return vm.parseJsonUint(json, key(group, i, name));
    }

    function account(string memory group, uint256 i, string memory name) private view returns (address) {
        return vm.parseJsonAddress(json, key(group, i, name));
    }

    function test_merkle_proofs() public {
        load("merkle.json");
        for (uint256 i; more("proofs", i); ++i) {
            bytes32[] memory siblings = vm.parseJsonBytes32Array(json, key("proofs", i, "siblings"));
            (bool opened, bytes memory root) = address(lib)
                .staticcall(
                    abi.encodeCall(
                        MerkleHarness.root, (word("proofs", i, "leaf"), number("proofs", i, "index"), siblings)
                    )
                );
            bool valid = opened && abi.decode(root, (bytes32)) == word("proofs", i, "root");
            ok(valid == vm.parseJsonBool(json, key("proofs", i, "valid")), "merkle proof");
        }
    }

    function test_sum_tree_proofs() public {
        load("sum-tree.json");
        for (uint256 i; more("proofs", i); ++i) {
            bytes32[] memory hashes = vm.parseJsonBytes32Array(json, key("proofs", i, "siblingHashes"));
            uint256[] memory sums = vm.parseJsonUintArray(json, key("proofs", i, "siblingSums"));
            SumNode[] memory siblings = new SumNode[](hashes.length);
            for (uint256 j; j < hashes.length; ++j) {
                siblings[j] = SumNode(hashes[j], uint128(sums[j]));
            }
            (bool opened, bytes memory answer) = address(lib)
                .staticcall(
                    abi.encodeCall(
                        MerkleHarness.sumRoot,
                        (
                            word("proofs", i, "leaf"),
                            uint128(number("proofs", i, "leafSum")),
                            number("proofs", i, "index"),
                            siblings
                        )
                    )
                );
            bool valid;
            if (opened) {
                (bytes32 root, uint128 sum, uint128 prefix) = abi.decode(answer, (bytes32, uint128, uint128));
                valid = root == word("proofs", i, "root") && sum == number("proofs", i, "sum");
                if (valid) eq(prefix, number("proofs", i, "prefix"), "prefix");
            }
            ok(valid == vm.parseJsonBool(json, key("proofs", i, "valid")), "sum proof");
        }
    }

    function test_leaves() public {
        load("leaves.json");
        for (uint256 i; more("records", i); ++i) {
            bytes32 leaf = FormatsLib.recordLeaf(
                uint64(number("records", i, "datanet")),
                uint256(word("records", i, "contribution")),
                uint64(number("records", i, "index")),
                word("records", i, "contentRoot"),
                uint64(number("records", i, "length"))
            );
            eq(leaf, word("records", i, "leaf"), "record");
        }
        for (uint256 i; more("contributions", i); ++i) {
            bytes32 id = word("contributions", i, "id");
            bytes32 leaf = FormatsLib.contributionLeaf(
                uint64(number("contributions", i, "datanet")),
                uint256(id),
                word("contributions", i, "root"),
                uint32(number("contributions", i, "count"))
            );
            eq(leaf, word("contributions", i, "leaf"), "contribution");
        }
        for (uint256 i; more("spans", i); ++i) {
            FormatsLib.Span memory span = FormatsLib.Span(
                uint64(number("spans", i, "datanet")),
                uint64(number("spans", i, "version")),
                uint256(word("spans", i, "contribution")),
                uint64(number("spans", i, "index")),
                uint64(number("spans", i, "recordOffset")),
                uint64(number("spans", i, "length")),
                uint64(number("spans", i, "outputOffset")),
                uint64(number("spans", i, "weight"))
            );
            eq(FormatsLib.spanLeaf(span), word("spans", i, "leaf"), "span");
        }
        for (uint256 i; more("entries", i); ++i) {
            FormatsLib.Entry memory entry = FormatsLib.Entry(
                account("entries", i, "account"),
                word("entries", i, "receipt"),
                uint32(number("entries", i, "line")),
                uint8(number("entries", i, "role")),
                uint256(word("entries", i, "contribution")),
                uint128(number("entries", i, "amount"))
            );
            eq(FormatsLib.entryLeaf(entry), word("entries", i, "leaf"), "entry");
        }
        for (uint256 i; more("payouts", i); ++i) {
            bytes32 leaf = FormatsLib.payoutLeaf(
                account("payouts", i, "payouts"),
                account("payouts", i, "account"),
                uint128(number("payouts", i, "cumulative"))
            );
            eq(leaf, word("payouts", i, "leaf"), "payout");
        }
    }

    function test_chunks() public {
        load("leaves.json");
        for (uint256 i; more("contents", i); ++i) {
            bytes memory content = vm.parseJsonBytes(json, key("contents", i, "content"));
            bytes32[] memory leaves = vm.parseJsonBytes32Array(json, key("contents", i, "leaves"));
            eq(leaves.length, (content.length + 255) / 256, "chunks");
            for (uint256 j; j < leaves.length; ++j) {
                uint256 size = content.length - j * 256 < 256 ? content.length - j * 256 : 256;
                bytes memory chunk = new bytes(size);
                for (uint256 k; k < size; ++k) {
                    chunk[k] = content[j * 256 + k];
                }
                eq(FormatsLib.chunkLeaf(word("contents", i, "salt"), j, keccak256(chunk)), leaves[j], "chunk");
            }
        }
    }

    function test_receipts() public {
        load("eip712.json");
        ReceiptHarness receipts = new ReceiptHarness();
        address contract_ = account("domains", 0, "contract");
        eq(ReceiptLib.TYPEHASH, word("domains", 0, "receiptTypehash"), "type");
        for (uint256 i; more("receipts", i); ++i) {
            bytes32[RECEIPT_WORDS] memory words;
            bytes32[] memory list = vm.parseJsonBytes32Array(json, key("receipts", i, "words"));
            eq(list.length, RECEIPT_WORDS, "words");
            for (uint256 j; j < RECEIPT_WORDS; ++j) {
                words[j] = list[j];
            }
            bytes32 structHash = receipts.structHash(words);
            eq(structHash, word("receipts", i, "structHash"), "struct hash");
            eq(receipts.id(words), word("receipts", i, "id"), "id");
            bytes memory signature = vm.parseJsonBytes(json, key("receipts", i, "signature"));
            bytes32 leaf = FormatsLib.receiptLeaf(
                contract_, receipts.id(words), structHash, keccak256(signature), word("receipts", i, "noteHash")
            );
            eq(leaf, word("receipts", i, "leaf"), "leaf");
            (bytes32 r, bytes32 s) = (bytes32(0), bytes32(0));
            assembly ("memory-safe") {
                r := mload(add(signature, 32))
                s := mload(add(signature, 64))
            }
            address signer = ecrecover(word("receipts", i, "digest"), uint8(signature[64]), r, s);
            eq(signer, account("receipts", i, "signer"), "signer");
        }
    }

    function test_notes() public {
        load("eip712.json");
        NoteHarness harness = new NoteHarness();
        eq(NoteLib.TYPEHASH, word("domains", 0, "noteTypehash"), "type");
        address contract_ = account("domains", 0, "contract");
        for (uint256 i; more("notes", i); ++i) {
            bytes32[NOTE_WORDS] memory words;
            bytes32[] memory list = vm.parseJsonBytes32Array(json, key("notes", i, "words"));
            eq(list.length, NOTE_WORDS, "words");
            for (uint256 j; j < NOTE_WORDS; ++j) {
                words[j] = list[j];
            }
            bytes32 structHash = harness.structHash(words);
            eq(structHash, word("notes", i, "structHash"), "struct hash");
            eq(typed(contract_, structHash), word("notes", i, "digest"), "digest");
        }
    }

    function test_trees_of_lines_and_receipts() public {
        load("leaves.json");
        for (uint256 i; more("lines", i); ++i) {
            tree("lines", "amounts", i);
        }
        for (uint256 i; more("receipts", i); ++i) {
            tree("receipts", "prices", i);
        }
    }

    /// @dev Root and top of a sum tree that the chain sees: two places at least.
    function tree(string memory group, string memory sums, uint256 i) private view {
        bytes32[] memory hashes = vm.parseJsonBytes32Array(json, key(group, i, "leaves"));
        uint256[] memory amounts = vm.parseJsonUintArray(json, key(group, i, sums));
        SumNode[] memory leaves = new SumNode[](hashes.length < 2 ? 2 : hashes.length);
        for (uint256 j; j < hashes.length; ++j) {
            leaves[j] = SumNode(hashes[j], uint128(amounts[j]));
        }
        SumNode[2] memory top = Trees.top(leaves);
        eq(top[0].hash, word(group, i, "left"), "left");
        eq(top[0].sum, number(group, i, "leftSum"), "left sum");
        eq(top[1].hash, word(group, i, "right"), "right");
        eq(top[1].sum, number(group, i, "rightSum"), "right sum");
        bytes32 root = MerkleLib.sumHash(top[0].hash, top[0].sum, top[1].hash, top[1].sum);
        eq(root, word(group, i, "root"), "root");
    }

    function test_governed_numbers() public {
        load("params.json");
        for (uint256 i; more("params", i); ++i) {
            bytes32[] memory list = vm.parseJsonBytes32Array(json, key("params", i, "words"));
            IParams.Values memory values = abi.decode(abi.encodePacked(list), (IParams.Values));
            eq(list.length * 32, abi.encode(values).length, "words");
            eq(keccak256(abi.encode(values)), word("params", i, "hash"), "hash");
        }
        eq(params.hash(), word("params", 0, "hash"), "every network begins with them");
    }

    /// @dev The digest our contract would check is that of its own domain over the struct hash Rust made.
    function typed(address contract_, bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32 separator =
            keccak256(abi.encode(domain, keccak256("OpenLedger"), keccak256("1"), block.chainid, contract_));
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }

    function test_signed_records() public {
        load("eip712.json");
        string memory cases = json;
        for (uint256 i; more("records", i); ++i) {
            bytes32 kind = keccak256(bytes(vm.parseJsonString(cases, key("records", i, "record"))));
            bytes32 structHash = word("records", i, "structHash");
            string memory m = vm.parseJsonString(cases, key("records", i, "members"));
            bytes32 ours;
            address contract_;
            if (kind == keccak256("Voucher")) {
                contract_ = address(channels);
                ours = channels.voucherDigest(
                    vm.parseJsonBytes32(m, ".channel"), uint128(vm.parseJsonUint(m, ".cumulative"))
                );
            } else if (kind == keccak256("Grant")) {
                contract_ = address(datanets);
                ours = datanets.grantDigest(
                    IDatanets.Grant(
                        uint64(vm.parseJsonUint(m, ".datanet")),
                        uint64(vm.parseJsonUint(m, ".version")),
                        vm.parseJsonAddress(m, ".grantee"),
                        uint32(vm.parseJsonUint(m, ".purposes")),
                        uint64(vm.parseJsonUint(m, ".until")),
                        vm.parseJsonBytes32(m, ".terms")
                    )
                );
            } else if (kind == keccak256("Register")) {
                contract_ = address(contributions);
                ours = contributions.registerDigest(
                    IContributions.Batch(
                        uint64(vm.parseJsonUint(m, ".datanet")),
                        vm.parseJsonBytes32(m, ".root"),
                        uint32(vm.parseJsonUint(m, ".count")),
                        vm.parseJsonBytes32(m, ".contributors"),
                        vm.parseJsonBytes32(m, ".terms")
                    ),
                    uint64(vm.parseJsonUint(m, ".nonce"))
                );
            } else {
                eq(kind, keccak256("Publish"), "kind");
                contract_ = address(datanets);
                ours = datanets.publishDigest(
                    uint64(vm.parseJsonUint(m, ".datanet")),
                    uint64(vm.parseJsonUint(m, ".expected_version")),
                    vm.parseJsonBytes32(m, ".root"),
                    uint64(vm.parseJsonUint(m, ".records"))
                );
            }
            eq(ours, typed(contract_, structHash), vm.parseJsonString(cases, key("records", i, "record")));
        }
    }

    function test_channels_and_grant_slots() public {
        load("eip712.json");
        for (uint256 i; more("channels", i); ++i) {
            // The id binds the contract, so ours is asked at the address of the case.
            vm.etch(account("channels", i, "channels"), address(channels).code);
            bytes32 id = IChannels(account("channels", i, "channels"))
                .channelOf(
                    IChannels.Config(
                        account("channels", i, "payer"),
                        account("channels", i, "authorizer"),
                        account("channels", i, "node"),
                        uint64(number("channels", i, "withdrawDelay")),
                        word("channels", i, "salt")
                    )
                );
            eq(id, word("channels", i, "id"), "channel");
        }
        for (uint256 i; more("grantSlots", i); ++i) {
            bytes32 slot = datanets.grantKey(
                uint64(number("grantSlots", i, "datanet")),
                account("grantSlots", i, "grantee"),
                uint32(number("grantSlots", i, "purpose"))
            );
            eq(slot, word("grantSlots", i, "slot"), "grant slot");
        }
    }

    /// @dev The lines of treasury, validation and node of a case, and the owner's before parents take theirs.
    function fixedLines(uint256 i, uint256 price)
        private
        view
        returns (uint256 treasury_, uint256 validation_, uint256 node_, uint256 owner)
    {
        // Governed numbers 7 to 9: parts of treasury and validation, and of the node.
        bytes32[] memory v = vm.parseJsonBytes32Array(json, key("cases", i, "params"));
        (treasury_, validation_) =
            SplitLib.platform(price, number("cases", i, "platformBps"), uint256(v[6]), uint256(v[7]));
        (node_, owner) = SplitLib.model(price, number("cases", i, "modelBps"), uint256(v[8]));
    }

    /// @dev The lines that shares alone decide are the same to the unit in Rust and here, so `splitFault` never finds
    /// fault with an honest one.
    function test_split_lines() public {
        load("split.json");
        for (uint256 i; more("cases", i); ++i) {
            uint256 price = number("cases", i, "price");
            (uint256 treasury_, uint256 validation_, uint256 node_, uint256 owner) = fixedLines(i, price);
            bool parents = vm.parseJsonUintArray(json, key("cases", i, "parentsBps")).length != 0;
            uint256[] memory roles = vm.parseJsonUintArray(json, key("cases", i, "lineRoles"));
            uint256[] memory amounts = vm.parseJsonUintArray(json, key("cases", i, "lineAmounts"));
            for (uint256 j; j < roles.length; ++j) {
                if (roles[j] == 0) eq(amounts[j], treasury_, "treasury");
                if (roles[j] == 1) eq(amounts[j], validation_, "validation");
                if (roles[j] == 3 && !parents) eq(amounts[j], owner, "owner");
                if (roles[j] == 3) ok(amounts[j] >= owner - owner / 2, "parents take half at most");
                if (roles[j] == 4) eq(amounts[j], node_, "node");
                if (roles[j] == 5) {
                    eq(amounts[j], SplitLib.stakers(price, number("cases", i, "stakersBps")), "stakers");
                }
            }
        }
    }
}
