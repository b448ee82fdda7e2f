// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    DuplicateFault,
    EntryFault,
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
/// @notice Proofs as the structs that `abi.encode` made them of, read where they lie in the calldata.
/// @dev Solidity still checks every access against the length of the calldata.
library FaultLib {
    /// @dev Where in the calldata the struct that `proof` encodes begins.
    function _at(bytes calldata proof) private pure returns (uint256 start) {
        (start) = uint256(bytes32(proof));
        assembly ("memory-safe") {
            start := add(proof.offset, start)
        }
    }

    function span(bytes calldata proof) internal pure returns (SpanFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function record(bytes calldata proof) internal pure returns (RecordFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function total(bytes calldata proof) internal pure returns (TotalFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function duplicate(bytes calldata proof) internal pure returns (DuplicateFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function split(bytes calldata proof) internal pure returns (SplitFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function signature(bytes calldata proof) internal pure returns (SignatureFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function omission(bytes calldata proof) internal pure returns (OmissionFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function payee(bytes calldata proof) internal pure returns (PayeeFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function order(bytes calldata proof) internal pure returns (OrderFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function entry(bytes calldata proof) internal pure returns (EntryFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }
}
