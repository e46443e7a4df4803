"""Security groups, web ACLs and Shield, on AWS by moto."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.network_and_security.network_security import NetworkSecurity, NetworkSecuritySettings
from collectors.systems.aws.client import Aws, AwsSettings
from collectors.systems.aws_perimeter.judge import protection_problems
from collectors.systems.aws_perimeter.model import Protection, SecurityGroups
from exporter.threads import Threads
from exporter.verdict import Reason, Result, Status
from tests.servers.aws import AwsServer, aws, aws_server
from tests.servers.nginx import nginx
from tests.servers.process import LOOPBACK, free_port
from tests.support import make_context, verify

__all__ = ["aws", "aws_server"]

LOAD_BALANCER = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/shop/0123456789abcdef"


async def _seen(aws: AwsServer, item: str, **options: Any) -> Result:
    client = Aws(AwsSettings.model_validate(aws.settings | {"timeout": "30s"}), Threads())
    settings = NetworkSecuritySettings.model_validate(options)
    seen = await verify(NetworkSecurity, settings, items=(item,), context=make_context(clients={"aws": client}))
    await client.close()
    return seen[item].result


class Vpc:
    """A network with a security group that an interface has, and one that none has."""

    def __init__(self, aws: AwsServer) -> None:
        self.aws, self.ec2 = aws, aws.client("ec2")
        self.id = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.used, self.spare = (self._group(name) for name in ("web", "spare"))
        subnet = self.ec2.create_subnet(VpcId=self.id, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        self.ec2.create_network_interface(SubnetId=subnet, Groups=[self.used])

    def _group(self, name: str) -> str:
        made = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.id)
        return str(made["GroupId"])

    async def seen(self, *rules: dict[str, Any], group: str = "", **options: Any) -> Result:
        """The verdict with these rules of a group, which are taken away again."""
        group = group or self.used
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=list(rules))
        result = await _seen(
            self.aws, "firewall_rules_configured", security_groups={"vpcs": (self.id,), "ports": (22, 5432), **options}
        )
        self.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=list(rules))
        return result


@pytest.fixture
def vpc(aws: AwsServer) -> Vpc:
    return Vpc(aws)


def rule(first: int, last: int, *networks: str, protocol: str = "tcp") -> dict[str, Any]:
    ranges = [{"CidrIp": one} for one in networks if ":" not in one]
    ranges6 = [{"CidrIpv6": one} for one in networks if ":" in one]
    return {"IpProtocol": protocol, "FromPort": first, "ToPort": last, "IpRanges": ranges, "Ipv6Ranges": ranges6}


HTTPS = rule(443, 443, "0.0.0.0/0", "::/0")


async def test_what_a_security_group_opens_to_the_internet(vpc: Vpc) -> None:
    result = await vpc.seen(HTTPS, rule(22, 22, "10.0.0.0/8", "203.0.113.0/24"))
    assert result.status is Status.OK, result
    assert result.summary == (
        "None of 1 security group in use lets the internet in on 2 ports; nothing was tried from outside."
    )
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    for opened, network, port in (
        (rule(22, 22, "0.0.0.0/0"), "0.0.0.0/0", 22),
        (rule(5000, 6000, "::/0"), "::/0", 5432),
        (rule(22, 22, "0.0.0.0/1", "128.0.0.0/1"), "0.0.0.0/0", 22),
        (everything, "0.0.0.0/0", 22),
    ):
        result = await vpc.seen(HTTPS, opened)
        assert result.status is Status.FAILED, opened
        assert f"Security group {vpc.used} (web) lets {network} in on port {port}." in result.summary
    listed = vpc.ec2.create_managed_prefix_list(
        PrefixListName="everybody", MaxEntries=2, AddressFamily="IPv4", Entries=[{"Cidr": "0.0.0.0/0"}]
    )["PrefixList"]["PrefixListId"]
    by_list = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "PrefixListIds": [{"PrefixListId": listed}]}
    assert (await vpc.seen(by_list)).status is Status.FAILED
    assert (await vpc.seen(rule(22, 22, "0.0.0.0/0", protocol="udp"))).status is Status.OK
    reasoned = {f"{vpc.used}/22": "A bastion."}
    assert (await vpc.seen(rule(22, 22, "0.0.0.0/0"), allowed=reasoned)).status is Status.OK
    result = await vpc.seen(rule(22, 22, "0.0.0.0/0"), group=vpc.spare)
    assert (result.status, "no network interface has it now" in result.summary) == (Status.WARNING, True), result


async def test_groups_that_nothing_has_show_nothing(aws: AwsServer) -> None:
    result = await _seen(aws, "firewall_rules_configured", security_groups={"vpcs": ("vpc-0123456789abcdef0",)})
    assert (result.status, result.reason) == (Status.UNKNOWN, Reason.MISSING)
    settings = NetworkSecuritySettings.model_validate({"security_groups": {}})
    seen = await verify(NetworkSecurity, settings, items=("firewall_rules_configured",), context=make_context())
    assert seen["firewall_rules_configured"].result.reason is Reason.NOT_CONFIGURED


def acl_rule(name: str, statement: dict[str, Any], **action: Any) -> dict[str, Any]:
    visible = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": name}
    return {"Name": name, "Priority": 0, "Statement": statement, "VisibilityConfig": visible, **action}


BY_RATE = {"RateBasedStatement": {"Limit": 1000, "AggregateKeyType": "IP"}}
LOOSE = {"RateBasedStatement": {"Limit": 2_000_000, "AggregateKeyType": "IP"}}
BY_HEADER = {
    "RateBasedStatement": {
        "Limit": 1000,
        "AggregateKeyType": "CUSTOM_KEYS",
        "CustomKeys": [{"Header": {"Name": "X-Client", "TextTransformations": [{"Priority": 0, "Type": "NONE"}]}}],
    }
}
GERMANY = {"GeoMatchStatement": {"CountryCodes": ["DE"]}}
SOME = {
    "RateBasedStatement": {
        **BY_RATE["RateBasedStatement"],
        "ScopeDownStatement": {"GeoMatchStatement": {"CountryCodes": ["DE"]}},
    }
}
OTHERS = {"RuleGroupReferenceStatement": {"ARN": "arn:aws:wafv2:eu-central-1:123456789012:regional/rulegroup/a/b"}}
BLOCK: dict[str, Any] = {"Action": {"Block": {}}}
COUNT: dict[str, Any] = {"Action": {"Count": {}}}
NONE: dict[str, Any] = {"OverrideAction": {"None": {}}}


async def test_a_web_acl_protects_by_what_its_rules_do(aws: AwsServer) -> None:
    port, closed = free_port(), free_port()
    edge = {"url": f"http://{LOOPBACK}:{port}/", "origins": (f"{LOOPBACK}:{closed}",), "aws_resource": LOAD_BALANCER}

    async def seen() -> Result:
        return await _seen(aws, "ddos_protection_active", edges=(edge,))

    allow = acl_rule("all", GERMANY, Action={"Allow": {}})
    waf, rate = aws.client("wafv2"), acl_rule("rate", BY_RATE, **BLOCK) | {"Priority": 1}
    with nginx(f"server {{ listen {LOOPBACK}:{port}; location / {{ return 200 site; }} }}", port=port):
        result = await seen()
        assert result.status is Status.FAILED
        assert "Neither a web ACL of AWS WAF nor Shield Advanced protects loadbalancer/app/shop/" in result.summary
        for name, rules, status, words in (
            ("empty", [], Status.FAILED, "has no rule that blocks by rate"),
            ("counts", [acl_rule("rate", BY_RATE, **COUNT)], Status.FAILED, "only counts who sends too much (rate)"),
            ("some", [acl_rule("rate", SOME, **BLOCK)], Status.UNKNOWN, "a rule for some requests only"),
            ("group", [acl_rule("others", OTHERS, **NONE)], Status.UNKNOWN, "a rule group that was not read"),
            (
                "loose",
                [acl_rule("rate", LOOSE, **BLOCK)],
                Status.FAILED,
                "more than a million requests within minutes (rate)",
            ),
            ("by-header", [acl_rule("rate", BY_HEADER, **BLOCK)], Status.UNKNOWN, "by what callers choose"),
            (
                "through",
                [allow, rate],
                Status.UNKNOWN,
                "after one that lets requests through",
            ),
            ("after", [allow | {"Priority": 2}, rate], Status.WARNING, ""),
            ("blocks", [acl_rule("rate", BY_RATE, **BLOCK)], Status.WARNING, "from outside it was not tried"),
        ):
            visible = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": name}
            made = waf.create_web_acl(
                Name=name, Scope="REGIONAL", DefaultAction={"Allow": {}}, VisibilityConfig=visible, Rules=rules
            )
            waf.associate_web_acl(WebACLArn=made["Summary"]["ARN"], ResourceArn=LOAD_BALANCER)
            result = await seen()
            assert (result.status, words in result.summary) == (status, True), result
            waf.disassociate_web_acl(ResourceArn=LOAD_BALANCER)
        shield = aws.client("shield")
        shield.create_subscription()
        shield.create_protection(Name="shop", ResourceArn=LOAD_BALANCER)
        result = await seen()
        assert (result.status, "from outside it was not tried" in result.summary) == (Status.WARNING, True), result


def test_a_subscription_that_has_ended_protects_nothing() -> None:
    ended = datetime(2026, 11, 1, tzinfo=UTC)
    (problem,) = protection_problems(Protection(LOAD_BALANCER, shielded=True, until=ended), ended)
    assert (problem.status, problem.reason) == (Status.FAILED, Reason.EXPIRED)


@pytest.mark.parametrize("options", [{"ports": (0,)}, {"allowed": {"sg-1": "x"}}, {"allowed": {"sg-1/22": " "}}])
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SecurityGroups.model_validate(options)
