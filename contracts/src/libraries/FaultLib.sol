// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    DuplicateFault,
    EntryFault,
    LinesFault,
    NoteFault,
    OmissionFault,
    OrderFault,
    PayeeFault,
    RecordFault,
    SignatureFault,
    SpanFault,
    SplitFault,
    TotalFault
} from "./Faults.sol";

/// @title FaultLib
/// @notice Proofs as the structs that `abi.encode` made them of, read where they lie in the calldata: behind the offset that
/// it puts first.
/// @dev Nothing is checked here, and nothing needs to be: calldata reads as zero past its end, so that every pointer reads
/// bytes that its sender could have written out.
library FaultLib {
    function span(bytes calldata proof) internal pure returns (SpanFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function record(bytes calldata proof) internal pure returns (RecordFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function total(bytes calldata proof) internal pure returns (TotalFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function duplicate(bytes calldata proof) internal pure returns (DuplicateFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function split(bytes calldata proof) internal pure returns (SplitFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function signature(bytes calldata proof) internal pure returns (SignatureFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function omission(bytes calldata proof) internal pure returns (OmissionFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function payee(bytes calldata proof) internal pure returns (PayeeFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function order(bytes calldata proof) internal pure returns (OrderFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function entry(bytes calldata proof) internal pure returns (EntryFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function lines(bytes calldata proof) internal pure returns (LinesFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }

    function note(bytes calldata proof) internal pure returns (NoteFault calldata f) {
        assembly ("memory-safe") {
            f := add(proof.offset, calldataload(proof.offset))
        }
    }
}
