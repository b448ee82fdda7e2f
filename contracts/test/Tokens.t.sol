// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Open} from "../src/Open.sol";
import {WOPEN} from "../src/WOPEN.sol";
import {Base} from "./base/Base.sol";

contract Refuser {
    function unwrap(WOPEN open, uint256 amount) external {
        open.withdraw(amount);
    }
}

contract TokensTest is Base {
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    WOPEN private open;
    address private user = addressOf("user");

    function setUp() public {
        open = new WOPEN();
        vm.deal(user, 10 ether);
    }

    function test_wrapping_and_unwrapping_moves_coin_one_for_one() public {
        vm.startPrank(user);
        open.deposit{value: 3 ether}();
        (bool sent,) = address(open).call{value: 1 ether}("");
        ok(sent, "coin sent plainly is wrapped");
        eq(open.balanceOf(user), 4 ether, "wrapped");
        open.withdraw(1.5 ether);
        eq(open.balanceOf(user), 2.5 ether, "left");
        eq(user.balance, 7.5 ether, "coin back");
        eq(open.totalSupply(), address(open).balance, "supply is what is held");
    }

    function test_unwrapping_more_than_owned_fails() public {
        vm.prank(user);
        vm.expectRevert();
        open.withdraw(1);
    }

    function test_a_contract_that_refuses_coin_keeps_its_wrapped_balance() public {
        Refuser refuser = new Refuser();
        vm.prank(user);
        open.deposit{value: 1 ether}();
        vm.prank(user);
        open.transfer(address(refuser), 1 ether);
        vm.expectRevert(abi.encodeWithSelector(WOPEN.WithdrawalRefused.selector, address(refuser), 1 ether));
        refuser.unwrap(open, 1 ether);
        eq(open.balanceOf(address(refuser)), 1 ether, "kept");
    }

    function test_permit_sets_the_allowance() public {
        bytes32 structHash = keccak256(abi.encode(PERMIT, user, address(this), 5, 0, type(uint256).max));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", open.DOMAIN_SEPARATOR(), structHash));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keyOf("user"), digest);
        open.permit(user, address(this), 5, type(uint256).max, v, r, s);
        eq(open.allowance(user, address(this)), 5, "allowance");
    }

    function test_an_authorization_is_received_once_and_only_by_its_receiver() public {
        vm.prank(user);
        open.deposit{value: 1 ether}();
        bytes32 structHash = keccak256(
            abi.encode(RECEIVE, user, address(this), uint256(1 ether), uint256(0), type(uint256).max, bytes32("n"))
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", open.DOMAIN_SEPARATOR(), structHash));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keyOf("user"), digest);
        vm.prank(user);
        vm.expectRevert();
        open.receiveWithAuthorization(user, address(this), 1 ether, 0, type(uint256).max, "n", v, r, s);
        open.receiveWithAuthorization(user, address(this), 1 ether, 0, type(uint256).max, "n", v, r, s);
        eq(open.balanceOf(address(this)), 1 ether, "received");
        vm.expectRevert();
        open.receiveWithAuthorization(user, address(this), 1 ether, 0, type(uint256).max, "n", v, r, s);
    }

    function test_open_elsewhere_is_minted_once_to_the_treasury() public {
        Open token = new Open(user);
        eq(token.totalSupply(), 1e27, "supply");
        eq(token.balanceOf(user), 1e27, "treasury has it");
        eq(uint256(token.decimals()), 18, "decimals");
    }
}
