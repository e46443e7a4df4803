// Command temporal is a Temporal server that keeps everything in memory: `temporal GRPC-PORT HTTP-PORT METRICS-PORT NAMESPACE…`, all on loopback.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/testing/freeport"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
)

const loopback = "127.0.0.1"

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(arguments []string) error {
	if len(arguments) < 4 {
		return fmt.Errorf("usage: temporal GRPC-PORT HTTP-PORT METRICS-PORT NAMESPACE…")
	}
	var ports [3]int
	for i := range ports {
		port, err := strconv.Atoi(arguments[i])
		if err != nil {
			return err
		}
		ports[i] = port
	}
	database := config.SQL{
		PluginName:        sqliteplugin.PluginName,
		ConnectAttributes: map[string]string{"mode": "memory", "cache": "shared"},
		DatabaseName:      "temporal",
	}
	var namespaces []*sqlite.NamespaceConfig
	for _, name := range arguments[3:] {
		namespace, err := sqlite.NewNamespaceConfig("active", name, false, nil)
		if err != nil {
			return err
		}
		namespaces = append(namespaces, namespace)
	}
	if err := sqlite.CreateNamespaces(&database, namespaces...); err != nil {
		return err
	}
	server, err := temporal.NewServer(
		temporal.WithConfig(configuration(ports[0], ports[1], ports[2], database)),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithLogger(log.NewZapLogger(log.BuildZapLogger(log.Config{Stdout: true, Level: "warn"}))),
		temporal.WithDynamicConfigClient(dynamicconfig.StaticClient{
			// Five by default, which takes minutes.
			dynamicconfig.NumConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute.Key(): 1,
		}),
		temporal.InterruptOn(temporal.InterruptCh()),
	)
	if err != nil {
		return err
	}
	return server.Start()
}

func configuration(grpc, http, prometheus int, database config.SQL) *config.Config {
	address := fmt.Sprintf("%s:%d", loopback, grpc)
	frontend := service(grpc)
	frontend.RPC.HTTPPort = http
	return &config.Config{
		Global: config.Global{
			Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback},
			Metrics: &metrics.Config{
				Prometheus: &metrics.PrometheusConfig{ListenAddress: fmt.Sprintf("%s:%d", loopback, prometheus), HandlerPath: "/metrics"},
			},
		},
		Persistence: config.Persistence{
			DefaultStore:     sqliteplugin.PluginName,
			VisibilityStore:  sqliteplugin.PluginName,
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{sqliteplugin.PluginName: {SQL: &database}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        "active",
			CurrentClusterName:       "active",
			ClusterInformation: map[string]cluster.ClusterInformation{
				"active": {Enabled: true, InitialFailoverVersion: 1, RPCAddress: address},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			"frontend": frontend,
			"history":  service(freeport.MustGetFreePort()),
			"matching": service(freeport.MustGetFreePort()),
			"worker":   service(freeport.MustGetFreePort()),
		},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{
			Archival: config.ArchivalNamespaceDefaults{
				History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
				Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
			},
		},
		PublicClient: config.PublicClient{HostPort: address},
	}
}

func service(port int) config.Service {
	return config.Service{RPC: config.RPC{GRPCPort: port, MembershipPort: freeport.MustGetFreePort(), BindOnLocalHost: true}}
}
