--liquibase formatted sql

--changeset shop:users
CREATE TABLE users (id int);

--changeset shop:orders
CREATE TABLE orders (id int);

--changeset shop:view runAlways:true
SELECT 1;

--changeset shop:slow labels:slow
SELECT pg_sleep(300);
