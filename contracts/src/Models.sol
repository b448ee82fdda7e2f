// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

import {IModels} from "./interfaces/IModels.sol";
import {Title} from "./Title.sol";

/// @title Models
/// @notice Titles of models and adapters, with a split that never changes.
contract Models is Title, IModels {
    /// @notice Bounds of the split, in basis points of the price.
    uint16 public constant MAX_PLATFORM_BPS = 2000;
    uint16 public constant MIN_MODEL_BPS = 1000;
    uint16 public constant MAX_MODEL_BPS = 4000;
    uint16 public constant MAX_STAKERS_BPS = 3000;
    uint16 public constant MIN_CONTRIBUTORS_BPS = 3000;
    /// @notice Most a parent may take of the owner's line, in basis points.
    uint16 public constant MAX_PARENT_BPS = 2000;
    /// @notice Most ancestors a model may have.
    uint8 public constant MAX_DEPTH = 8;

    /// @inheritdoc IModels
    uint64 public count;

    mapping(uint64 model => Model) private _models;

    constructor() ERC721("OpenLedger Model", "MODL") {}

    /// @inheritdoc IModels
    function register(NewModel calldata m, string calldata uri) external returns (uint64 model) {
        require(m.weights != 0 && m.manifest != 0, MissingHash());
        uint256 taken = uint256(m.platformBps) + m.modelBps + m.stakersBps;
        require(
            m.platformBps <= MAX_PLATFORM_BPS && m.modelBps >= MIN_MODEL_BPS && m.modelBps <= MAX_MODEL_BPS
                && m.stakersBps <= MAX_STAKERS_BPS && taken <= 10_000 - MIN_CONTRIBUTORS_BPS,
            SplitOutOfBounds(m.platformBps, m.modelBps, m.stakersBps)
        );
        model = ++count;
        uint8 depth = 0;
        if (m.parent == 0) {
            require(m.parentBps == 0, BadParent(m.parent, m.parentBps));
        } else {
            require(m.parent < model && m.parentBps <= MAX_PARENT_BPS, BadParent(m.parent, m.parentBps));
            depth = _models[m.parent].depth + 1;
            require(depth <= MAX_DEPTH, BadParent(m.parent, m.parentBps));
        }
        _models[model] = Model({
            weights: m.weights,
            manifest: m.manifest,
            priceIn: m.priceIn,
            priceOut: m.priceOut,
            parent: m.parent,
            priceFlat: m.priceFlat,
            platformBps: m.platformBps,
            modelBps: m.modelBps,
            stakersBps: m.stakersBps,
            parentBps: m.parentBps,
            depth: depth,
            stakeVault: m.stakeVault
        });
        emit ModelRegistered(model, msg.sender, m.parent, m.weights, m.manifest, uri);
        emit PriceSet(model, m.priceIn, m.priceOut, m.priceFlat);
        _mint(msg.sender, model);
    }

    /// @inheritdoc IModels
    function setPrice(uint64 model, uint96 priceIn, uint96 priceOut, uint96 priceFlat) external {
        require(ownerOf(model) == msg.sender, NotModelOwner(model, msg.sender));
        Model storage m = _models[model];
        (m.priceIn, m.priceOut, m.priceFlat) = (priceIn, priceOut, priceFlat);
        emit PriceSet(model, priceIn, priceOut, priceFlat);
    }

    /// @inheritdoc IModels
    function models(uint64 model) external view returns (Model memory) {
        require(model != 0 && model <= count, NoSuchModel(model));
        return _models[model];
    }
}
