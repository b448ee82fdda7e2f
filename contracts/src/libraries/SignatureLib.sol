// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title SignatureLib
/// @notice Signatures of keys (65 bytes r, s, v with s in the lower half) and of contracts (ERC-1271).
/// @dev Keys are tried first: asking whether the signer has code would cost every key 2,600 gas.
/// @dev Warning: a contract may answer differently later; act on its answer at once.
library SignatureLib {
    /// @dev Whether `signer` signed `digest`.
    function isSignedBy(address signer, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        return isKey(signer, digest, signature)
            || SignatureChecker.isValidERC1271SignatureNowCalldata(signer, digest, signature);
    }

    /// @dev Whether the key of `signer` signed `digest`.
    function isKey(address signer, bytes32 digest, bytes calldata signature) internal pure returns (bool) {
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
        return failure == ECDSA.RecoverError.NoError && recovered == signer;
    }
}
