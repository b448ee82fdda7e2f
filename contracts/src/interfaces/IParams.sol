// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title IParams
/// @notice The governed numbers: one set of values at a time, each named by its hash, which receipts carry.
/// @dev The code bounds every value; the owner chooses within the bounds.
interface IParams {
    /// @notice The governed numbers. Shares are in basis points. Their hash is `keccak256(abi.encode(values))`.
    /// @param version Counts the changes, so that no two sets have one hash; the first is 1.
    /// @param maxPlatformBps Most that a new model may give the platform, of the price.
    /// @param minModelBps Least that a new model gives owner and node, of the price.
    /// @param maxModelBps Most of the same.
    /// @param maxStakersBps Most that a new model may give its stakers, of the price.
    /// @param minContributorsBps Least that a new model leaves the contributors, of the price.
    /// @param treasuryBps Treasury's part of the platform part.
    /// @param validationBps Validation's part of the platform part; insurance has the rest.
    /// @param nodeBps The node's part of the model part; the owner has the rest.
    /// @param maxParentBps Most that the parent of a new model takes of the owner's line.
    /// @param maxParentsBps Most that all ancestors together take of the owner's line.
    /// @param challengerBps The challenger's part of a slashed bond.
    /// @param harmedBps The harmed party's part of a slashed bond; the rest is burned.
    /// @param spansNumerator The coverage of spans is the least of 1 and
    /// `spansNumerator * covered tokens / (spansDenominator * written tokens)`.
    /// @param spansDenominator See `spansNumerator`.
    /// @param influenceThreshold An influence score above it is paid, in 1/256 of a robust deviation.
    /// @param retrievalThreshold Drop of an answer's log probability, in micro-nats a written token, that pays the whole
    /// retrieval pot.
    /// @param mixes Up to four mixes (spans, influence, retrieval) of the contributors' line that a new model may declare;
    /// unused ones are zero and come last.
    struct Values {
        uint32 version;
        uint16 maxPlatformBps;
        uint16 minModelBps;
        uint16 maxModelBps;
        uint16 maxStakersBps;
        uint16 minContributorsBps;
        uint16 treasuryBps;
        uint16 validationBps;
        uint16 nodeBps;
        uint16 maxParentBps;
        uint16 maxParentsBps;
        uint16 challengerBps;
        uint16 harmedBps;
        uint16 spansNumerator;
        uint16 spansDenominator;
        uint32 influenceThreshold;
        uint32 retrievalThreshold;
        uint16[12] mixes;
    }

    /// @notice How parts of a price are divided further, in basis points: the values that a judge of lines needs.
    struct Parts {
        uint16 treasuryBps;
        uint16 validationBps;
        uint16 nodeBps;
        uint16 maxParentsBps;
    }

    /// @notice Bounds of a new model's shares, in basis points.
    struct ModelBounds {
        uint16 maxPlatformBps;
        uint16 minModelBps;
        uint16 maxModelBps;
        uint16 maxStakersBps;
        uint16 minContributorsBps;
        uint16 maxParentBps;
    }

    /// @notice `name` is outside the bounds in code.
    error OutOfBounds(string name);
    /// @notice Versions follow one another.
    error WrongVersion(uint32 version, uint32 expected);
    /// @notice No values with this hash were ever in force.
    error NeverInForce(bytes32 hash);

    /// @notice `values`, with this hash, are in force from now on.
    event ValuesSet(bytes32 indexed hash, uint32 indexed version, Values values);

    /// @notice Puts `values` in force in place of the current ones; only the owner.
    /// @param values Within the bounds; the version is the current one and one.
    function set(Values calldata values) external;

    /// @notice The values in force.
    function current() external view returns (Values memory);

    /// @notice Those of the values in force that bound a new model.
    function modelBounds() external view returns (ModelBounds memory);

    /// @notice The hash of the values in force.
    function hash() external view returns (bytes32);

    /// @notice The values with this hash, in force now or earlier.
    function valuesOf(bytes32 hash_) external view returns (Values memory);

    /// @notice From when and until when (exclusively) the values with this hash are or were in force, in seconds.
    /// @return since Zero for the first values.
    /// @return until Zero while they are in force.
    function periodOf(bytes32 hash_) external view returns (uint64 since, uint64 until);

    /// @notice Whether something done at `time` may have used the values with this hash; and the parts they give.
    /// @dev A node learns of a change some time after it, and clocks differ: values may be used `GRACE` seconds before they
    /// are in force and after. The parts are zero where there are no such values.
    function partsAt(bytes32 hash_, uint256 time) external view returns (bool inForce, Parts memory parts);

    /// @notice Seconds by which a use of values may miss the time in which they are in force.
    function GRACE() external view returns (uint64);
}
