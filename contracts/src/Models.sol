// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

import {IModels} from "./interfaces/IModels.sol";
import {IParams} from "./interfaces/IParams.sol";
import {Title} from "./Title.sol";

/// @title Models
/// @notice Titles of models and adapters, with a split that never changes.
/// @dev The governed numbers bound the split of a model when it registers, and never again.
contract Models is Title, IModels {
    /// @notice Most ancestors a model may have.
    uint8 public constant MAX_DEPTH = 8;

    IParams public immutable PARAMS;

    /// @inheritdoc IModels
    uint64 public count;

    mapping(uint64 model => Model) private _models;

    /// @param params The `Params` contract.
    constructor(IParams params) ERC721("OpenLedger Model", "MODL") {
        PARAMS = params;
    }

    /// @inheritdoc IModels
    function register(NewModel calldata m, string calldata uri) external returns (uint64 model) {
        require(m.weights != 0 && m.manifest != 0, MissingHash());
        IParams.ModelBounds memory bounds = PARAMS.modelBounds();
        uint256 taken = uint256(m.platformBps) + m.modelBps + m.stakersBps;
        require(
            m.platformBps <= bounds.maxPlatformBps && m.modelBps >= bounds.minModelBps
                && m.modelBps <= bounds.maxModelBps && m.stakersBps <= bounds.maxStakersBps
                && taken + bounds.minContributorsBps <= 10_000,
            SplitOutOfBounds(m.platformBps, m.modelBps, m.stakersBps)
        );
        model = ++count;
        uint8 depth = 0;
        if (m.parent == 0) {
            require(m.parentBps == 0, BadParent(m.parent, m.parentBps));
        } else {
            require(m.parent < model && m.parentBps <= bounds.maxParentBps, BadParent(m.parent, m.parentBps));
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
    function splitOf(uint64 model) external view returns (uint16 platformBps, uint16 modelBps, uint16 stakersBps) {
        Model storage m = _models[model];
        return (m.platformBps, m.modelBps, m.stakersBps);
    }

    /// @inheritdoc IModels
    function models(uint64 model) external view returns (Model memory) {
        require(model != 0 && model <= count, NoSuchModel(model));
        return _models[model];
    }
}
