// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IParams} from "./IParams.sol";
import {ITitle} from "./ITitle.sol";

/// @title IModels
/// @notice Titles of models and adapters: their weights, their origin, and the split of their income.
interface IModels is ITitle {
    /// @notice A model; all but its prices is fixed at registration.
    /// @param weights SHA-256 of the weights.
    /// @param manifest SHA-256 of the manifest: the roots of all that went in.
    /// @param priceIn Base units of OPEN per 1,000 tokens read.
    /// @param priceOut Base units per 1,000 tokens written.
    /// @param parent The model it derives from; zero for none.
    /// @param priceFlat Base units per answer, on top.
    /// @param platformBps Platform's share of the price.
    /// @param modelBps Owner's and node's share.
    /// @param stakersBps Stakers' share; contributors get the rest.
    /// @param parentBps Part of the owner's line that the parent's holder gets.
    /// @param depth Ancestors above it.
    /// @param stakeVault Account of the stakers' line; zero sends it to insurance.
    struct Model {
        bytes32 weights;
        bytes32 manifest;
        uint96 priceIn;
        uint96 priceOut;
        uint64 parent;
        uint96 priceFlat;
        uint16 platformBps;
        uint16 modelBps;
        uint16 stakersBps;
        uint16 parentBps;
        uint8 depth;
        address stakeVault;
    }

    /// @notice The arguments of a registration; as in `Model`.
    struct NewModel {
        bytes32 weights;
        bytes32 manifest;
        uint96 priceIn;
        uint96 priceOut;
        uint96 priceFlat;
        uint64 parent;
        uint16 platformBps;
        uint16 modelBps;
        uint16 stakersBps;
        uint16 parentBps;
        address stakeVault;
    }

    /// @notice The split breaks a bound of the governed numbers in force.
    error SplitOutOfBounds(uint16 platformBps, uint16 modelBps, uint16 stakersBps);
    /// @notice The parent does not exist or is too deep, or its share exceeds the bound or is named without a parent.
    error BadParent(uint64 parent, uint16 parentBps);
    /// @notice A model has weights and a manifest.
    error MissingHash();
    /// @notice The caller does not own the model.
    error NotModelOwner(uint64 model, address caller);
    /// @notice There is no such model.
    error NoSuchModel(uint64 model);

    /// @notice `owner` registered `model`; `uri` is its card.
    event ModelRegistered(
        uint64 indexed model,
        address indexed owner,
        uint64 indexed parent,
        bytes32 weights,
        bytes32 manifest,
        string uri
    );
    /// @notice The prices of `model` changed.
    event PriceSet(uint64 indexed model, uint96 priceIn, uint96 priceOut, uint96 priceFlat);

    /// @notice Registers a model owned by the caller.
    /// @return model Its id: running numbers from 1, so a parent always exists before its child.
    function register(NewModel calldata m, string calldata uri) external returns (uint64 model);

    /// @notice Sets the prices; the caller owns the model.
    function setPrice(uint64 model, uint96 priceIn, uint96 priceOut, uint96 priceFlat) external;

    /// @notice Models registered so far; the newest one's id.
    function count() external view returns (uint64);

    /// @notice The shares of a model; `modelBps` is zero where there is no such model, and nowhere else.
    function splitOf(uint64 model) external view returns (uint16 platformBps, uint16 modelBps, uint16 stakersBps);

    /// @notice The governed numbers that bound the split of a new model.
    function PARAMS() external view returns (IParams);

    /// @notice The model; reverts when there is none.
    function models(uint64 model) external view returns (Model memory);
}
