DROP TABLE jobs;
DROP TABLE company_domains;
