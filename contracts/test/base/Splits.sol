// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SplitLib} from "../../src/libraries/SplitLib.sol";
import {Draw, Draws} from "./Draws.sol";

/// @dev What a split takes. Contributions are 1 to 8; `holder` is 0 where nobody holds one. `score` is by contribution
/// (from 0) and layer: spans, influence, retrieval, rest.
struct Split {
    uint256 price;
    uint256 platformBps;
    uint256 modelBps;
    uint256 stakersBps;
    uint256[3] mix;
    uint256[3] lambda;
    uint256[8] holder;
    uint256[4][8] score;
    uint256[] parents;
    uint256[] parentsBps;
    bool staked;
}

/// @title Splits
/// @dev The whole split rule, written from `docs/formats.md`: the lines that `SplitLib` knows are asked of it, and the
/// contributors' are drawn here as a second opinion on the `ledger` crate, which alone pays them.
library Splits {
    using Draws for Draw;

    uint256 private constant MILLION = 1e6;
    uint256 private constant REST = 3;
    /// @dev The first governed numbers: parts of treasury and validation, and of the node.
    uint256 private constant TREASURY_BPS = 6000;
    uint256 private constant VALIDATION_BPS = 2000;
    uint256 private constant NODE_BPS = 4000;

    /// @dev What is divided in each layer among how much score, and the lines written so far: four words each.
    struct Work {
        uint256[4] pot;
        uint256[4] all;
        bytes lines;
    }

    function generate(Draw memory draw) internal pure returns (Split memory s) {
        s.price = _price(draw);
        s.platformBps = draw.below(2002);
        s.modelBps = 999 + draw.below(3003);
        s.stakersBps = draw.below(3002);
        (uint256 a, uint256 b) = (draw.below(10_001), draw.below(10_001));
        (a, b) = a < b ? (a, b) : (b, a);
        (s.mix[0], s.mix[1], s.mix[2]) = (a, b - a, 10_000 - b);
        if (draw.below(32) == 0) ++s.mix[2];
        for (uint256 i; i < 3; ++i) {
            uint256 kind = draw.below(64);
            if (kind == 0) s.lambda[i] = MILLION + 1;
            else if (kind <= 16) s.lambda[i] = 0;
            else if (kind <= 32) s.lambda[i] = MILLION;
            else s.lambda[i] = draw.below(MILLION + 1);
        }
        for (uint256 i; i < 8; ++i) {
            s.holder[i] = draw.below(5);
        }
        for (uint256 left = draw.below(16); left != 0; --left) {
            uint256 layer = draw.below(4);
            uint256 from = draw.below(8);
            // Which record of the contribution it was makes no difference to the split.
            draw.below(3);
            uint256 kind = draw.below(4);
            if (kind == 3) s.score[from][layer] += draw.next();
            else if (kind != 0) s.score[from][layer] += 1 + draw.below(20);
        }
        uint256 parents = draw.below(4);
        (s.parents, s.parentsBps) = (new uint256[](parents), new uint256[](parents));
        for (uint256 i; i < parents; ++i) {
            (s.parents[i], s.parentsBps[i]) = (draw.below(3), draw.below(2010));
        }
        s.staked = draw.below(2) == 1;
    }

    function _price(Draw memory draw) private pure returns (uint256) {
        uint256 kind = draw.below(6);
        if (kind == 0) return draw.below(40);
        if (kind == 1) return draw.below(1 << 32);
        if (kind == 2) return type(uint64).max - draw.below(4);
        if (kind == 3) return draw.wide() % (1e27 + 1);
        if (kind == 4) return type(uint128).max - draw.below(4);
        return draw.wide() % 1e18;
    }

    /// @dev Whether every share is within its bounds.
    function isAllowed(Split memory s) internal pure returns (bool) {
        uint256 others = s.platformBps + s.modelBps + s.stakersBps;
        if (s.platformBps > 2000 || s.modelBps < 1000 || s.modelBps > 4000 || s.stakersBps > 3000) return false;
        if (others > 7000 || s.mix[0] + s.mix[1] + s.mix[2] != 10_000) return false;
        if (s.lambda[0] > MILLION || s.lambda[1] > MILLION || s.lambda[2] > MILLION) return false;
        uint256 sum;
        for (uint256 i; i < s.parents.length; ++i) {
            if (s.parentsBps[i] > 2000) return false;
            sum += s.parentsBps[i];
        }
        return sum <= 5000;
    }

    /// @dev Role, account, contribution and amount of every line that is not zero, in that order of lines.
    function lines(Split memory s) internal pure returns (bytes memory) {
        Work memory w;
        // Eight fixed lines at most, eight contributors' and three parents'.
        w.lines = new bytes(19 * 128);
        uint256 insurance = s.price;
        (uint256 treasury, uint256 validation) = SplitLib.platform(s.price, s.platformBps, TREASURY_BPS, VALIDATION_BPS);
        (uint256 node, uint256 owner) = SplitLib.model(s.price, s.modelBps, NODE_BPS);
        uint256 stakers = s.staked ? SplitLib.stakers(s.price, s.stakersBps) : 0;
        insurance -= treasury + validation + node + owner + stakers;
        uint256[3] memory toParents;
        uint256 line = owner;
        for (uint256 i; i < s.parents.length; ++i) {
            uint256 part = line * s.parentsBps[i] / SplitLib.BPS;
            toParents[s.parents[i]] += part;
            owner -= part;
        }
        _cut(s, w);
        // The contributors' lines are written where they belong, behind the fixed ones, so insurance is known first.
        uint256[8] memory paid = _contributors(s, w);
        for (uint256 i; i < 8; ++i) {
            insurance -= paid[i];
        }
        uint256 end = _write(w.lines, 0, 0, 1, 0, treasury);
        end = _write(w.lines, end, 1, 2, 0, validation);
        end = _write(w.lines, end, 2, 3, 0, insurance);
        end = _write(w.lines, end, 3, 4, 0, owner);
        end = _write(w.lines, end, 4, 5, 0, node);
        end = _write(w.lines, end, 5, 6, 0, stakers);
        for (uint256 holder = 1; holder < 5; ++holder) {
            for (uint256 i; i < 8; ++i) {
                if (s.holder[i] == holder) end = _write(w.lines, end, 6, 0x1000 + holder, i + 1, paid[i]);
            }
        }
        for (uint256 i; i < 3; ++i) {
            end = _write(w.lines, end, 7, 0x2000 + i, 0, toParents[i]);
        }
        bytes memory list = w.lines;
        assembly ("memory-safe") {
            mstore(list, end)
        }
        return list;
    }

    /// @dev Cuts the contributors' pot into the live part of each layer somebody scored in, and the rest.
    function _cut(Split memory s, Work memory w) private pure {
        for (uint256 i; i < 8; ++i) {
            for (uint256 layer; layer < 4; ++layer) {
                w.all[layer] += s.score[i][layer];
            }
        }
        uint256 pot = SplitLib.contributors(s.price, s.platformBps, s.modelBps, s.stakersBps);
        w.pot[REST] = pot;
        for (uint256 layer; layer < 3; ++layer) {
            if (w.all[layer] == 0) continue;
            w.pot[layer] = pot * s.mix[layer] / SplitLib.BPS * s.lambda[layer] / MILLION;
            w.pot[REST] -= w.pot[layer];
        }
    }

    /// @dev What each contribution's line pays: its own floors, and in the holder's first line what the floors over all
    /// the holder has leave.
    function _contributors(Split memory s, Work memory w) private pure returns (uint256[8] memory paid) {
        for (uint256 holder = 1; holder < 5; ++holder) {
            uint256[4] memory sum;
            uint256 first = 8;
            uint256 parts;
            for (uint256 i; i < 8; ++i) {
                if (s.holder[i] != holder) continue;
                paid[i] = _earned(w, s.score[i]);
                parts += paid[i];
                bool scored;
                for (uint256 layer; layer < 4; ++layer) {
                    sum[layer] += s.score[i][layer];
                    scored = scored || s.score[i][layer] != 0;
                }
                if (scored && first == 8) first = i;
            }
            if (first != 8) paid[first] += _earned(w, sum) - parts;
        }
    }

    function _earned(Work memory w, uint256[4] memory score) private pure returns (uint256 earned) {
        for (uint256 layer; layer < 4; ++layer) {
            if (score[layer] != 0) earned += w.pot[layer] * score[layer] / w.all[layer];
        }
    }

    function _write(bytes memory list, uint256 end, uint256 role, uint256 account, uint256 contribution, uint256 amount)
        private
        pure
        returns (uint256)
    {
        if (amount == 0) return end;
        assembly ("memory-safe") {
            let line := add(add(list, 32), end)
            mstore(line, role)
            mstore(add(line, 32), account)
            mstore(add(line, 64), contribution)
            mstore(add(line, 96), amount)
        }
        return end + 128;
    }
}
